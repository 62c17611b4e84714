/* Prints llama.cpp's logits of every position, as raw float32: llama-logits MODEL AT_ONCE TOKEN...
 *
 * The first AT_ONCE tokens are read in one batch, the others one by one.
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

/* Reads `count` tokens behind `position` others and prints the logits of each. */
static int read_tokens(struct llama_context * context, const char ** tokens, int position, int count, int vocabulary) {
    struct llama_batch batch = llama_batch_init(count, 0, 1);
    batch.n_tokens = count;
    for (int i = 0; i < count; i++) {
        batch.token[i]     = atoi(tokens[position + i]);
        batch.pos[i]       = position + i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = 1;
    }
    const int failed = llama_decode(context, batch);
    for (int i = 0; i < count && !failed; i++) {
        fwrite(llama_get_logits_ith(context, i), sizeof(float), vocabulary, stdout);
    }
    llama_batch_free(batch);
    return failed;
}

int main(int argc, const char ** argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL AT_ONCE TOKEN...\n", argv[0]);
        return 2;
    }
    llama_log_set(keep_errors, NULL);
    llama_backend_init();
    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == NULL) {
        return 1;
    }
    const int count      = argc - 3;
    const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));

    struct llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx     = count;
    parameters.n_threads = parameters.n_threads_batch = 1;

    struct llama_context * context = llama_init_from_model(model, parameters);
    if (context == NULL) {
        return 1;
    }
    const int at_once = atoi(argv[2]);
    int failed = read_tokens(context, argv + 3, 0, at_once, vocabulary);
    for (int i = at_once; i < count && !failed; i++) {
        failed = read_tokens(context, argv + 3, i, 1, vocabulary);
    }
    llama_free(context);
    llama_model_free(model);
    return failed;
}
