/* Prints the ids that a model's tokenizer makes of texts, a line each: llama-tokens MODEL <TEXTS
 *
 * Each text ends with a zero byte.
 */

#include <stdio.h>
#include <stdlib.h>

#include "llama.h"

static void keep_errors(enum ggml_log_level level, const char * text, void * data) {
    (void) data;
    if (level >= GGML_LOG_LEVEL_ERROR) {
        fputs(text, stderr);
    }
}

int main(int argc, const char ** argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL\n", argv[0]);
        return 2;
    }
    llama_log_set(keep_errors, NULL);
    llama_backend_init();
    struct llama_model_params parameters = llama_model_default_params();
    parameters.vocab_only = 1;
    struct llama_model * model = llama_model_load_from_file(argv[1], parameters);
    if (model == NULL) {
        return 1;
    }
    const struct llama_vocab * vocabulary = llama_model_get_vocab(model);

    char * text = NULL;
    size_t capacity = 0;
    ssize_t length;
    while ((length = getdelim(&text, &capacity, 0, stdin)) > 0) {
        length -= text[length - 1] == 0;
        /* A byte makes a token at most, and a text is given a token at each end. */
        llama_token * tokens = malloc((length + 2) * sizeof(llama_token));
        const int count = llama_tokenize(vocabulary, text, length, tokens, length + 2, 1, 1);
        for (int i = 0; i < count; i++) {
            printf("%d ", tokens[i]);
        }
        puts("");
        free(tokens);
    }
    free(text);
    llama_model_free(model);
    return 0;
}
