# One more program of llama.cpp's own build: CMAKE_PROJECT_llama.cpp_INCLUDE names this file.
add_executable(llama-logits ${CMAKE_CURRENT_LIST_DIR}/llama_logits.c)
target_link_libraries(llama-logits PRIVATE llama)
set_target_properties(llama-logits PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
