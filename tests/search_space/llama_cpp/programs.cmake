# Two more programs of llama.cpp's own build: CMAKE_PROJECT_llama.cpp_INCLUDE names this file.
foreach(program logits tokens)
    add_executable(llama-${program} ${CMAKE_CURRENT_LIST_DIR}/llama_${program}.c)
    target_link_libraries(llama-${program} PRIVATE llama)
    set_target_properties(llama-${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endforeach()
