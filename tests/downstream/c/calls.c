/* A library beside fastopt that calls it, in C and in C++: what docs/calling-from-c.md does not show. */
#include <fastopt.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

int run_list(const fastopt_api *api, const char *rule, const void *scalars, void *const *arrays, const int *storages,
             const ptrdiff_t *counts, ptrdiff_t ntensors, int threads);
void run_kernel(const fastopt_api *api, const char *rule, int storage, int form, void **arrays, ptrdiff_t n, const void *scalars);
int refusals(const fastopt_api *api);

/* A list of tensors; each has all arrays of the rule, one after the other. */
int run_list(const fastopt_api *api, const char *rule, const void *scalars, void *const *arrays, const int *storages,
             const ptrdiff_t *counts, ptrdiff_t ntensors, int threads)
{
    const fastopt_rule *found = api->find_rule(rule);
    fastopt_tensor tensors[64];
    ptrdiff_t i;
    for (i = 0; i < ntensors; i++) {
        tensors[i].arrays = arrays + i * found->narrays;
        tensors[i].storages = storages + i * found->narrays;
        tensors[i].count = counts[i];
    }
    return api->run(found, scalars, tensors, ntensors, threads);
}

void run_kernel(const fastopt_api *api, const char *rule, int storage, int form, void **arrays, ptrdiff_t n, const void *scalars)
{
    api->find_rule(rule)->kernels[storage][form](arrays, n, scalars);
}

static fastopt_sgd_scalars_float64 with_lr(double lr)
{
    fastopt_sgd_scalars_float64 scalars;
    memset(&scalars, 0, sizeof scalars);
    scalars.grad_scale = 1;
    scalars.lr = lr;
    return scalars;
}

/* What must be refused, each after a tensor that is well; 0, or the number of the first line that is wrong. */
int refusals(const fastopt_api *api)
{
    static const int floats[] = {FASTOPT_FLOAT32, FASTOPT_FLOAT32}, unknown[] = {FASTOPT_FLOAT32, 4}, below[] = {-1, 0};
    const fastopt_rule *sgd = api->find_rule("sgd");
    float param[4] = {1, 1, 1, 1}, more[7] = {1, 1, 1, 1, 1, 1, 1}, grad[4] = {1, 1, 1, 1};
    void *well[] = {param, grad}, *overlapping[] = {more, more + 3}, *turned[] = {more + 3, more};
    void *odd[] = {(char *)more + 2, grad}, *none[] = {more, NULL};
    void *second[] = {more, grad};
    fastopt_sgd_scalars_float64 scalars = with_lr(0.5), infinite = with_lr(1e300), decayed = scalars, vanishing = scalars;
    fastopt_tensor tensors[2] = {{well, floats, 4}, {second, floats, 4}};
    int i;
    decayed.decay = 0.5;
    vanishing.grad_scale = 1e-300;

#define REFUSES(call, error)      \
    do {                          \
        if ((call) != (error))    \
            return __LINE__;      \
    } while (0)
#define SECOND_REFUSED(arrays_, storages_, count_, error) \
    do {                                                  \
        tensors[1].arrays = (arrays_);                    \
        tensors[1].storages = (storages_);                \
        tensors[1].count = (count_);                      \
        REFUSES(api->run(sgd, &scalars, tensors, 2, 0), error); \
    } while (0)

    REFUSES(api->find_rule("adamw") != NULL || api->find_rule(NULL) != NULL, 0);
    REFUSES(api->run(NULL, &scalars, tensors, 2, 0), FASTOPT_NULL_POINTER);
    REFUSES(api->run(sgd, NULL, tensors, 2, 0), FASTOPT_NULL_POINTER);
    REFUSES(api->run(sgd, &scalars, NULL, 2, 0), FASTOPT_NULL_POINTER);
    REFUSES(api->run(sgd, &scalars, tensors, -1, 0), FASTOPT_NEGATIVE_SIZE);
    REFUSES(api->run(sgd, &scalars, tensors, 2, -1), FASTOPT_NEGATIVE_SIZE);
    REFUSES(api->run(sgd, &infinite, tensors, 2, 0), FASTOPT_BAD_SCALAR);
    REFUSES(api->run(sgd, &decayed, tensors, 2, 0), FASTOPT_BAD_SCALAR);
    REFUSES(api->run(sgd, &vanishing, tensors, 2, 0), FASTOPT_BAD_SCALAR);
    SECOND_REFUSED(NULL, floats, 4, FASTOPT_NULL_POINTER);
    SECOND_REFUSED(second, NULL, 4, FASTOPT_NULL_POINTER);
    SECOND_REFUSED(none, floats, 4, FASTOPT_NULL_POINTER);
    SECOND_REFUSED(second, floats, -4, FASTOPT_NEGATIVE_SIZE);
    SECOND_REFUSED(second, unknown, 4, FASTOPT_UNKNOWN_STORAGE);
    SECOND_REFUSED(second, below, 4, FASTOPT_UNKNOWN_STORAGE);
    SECOND_REFUSED(odd, floats, 4, FASTOPT_MISALIGNED);
    SECOND_REFUSED(overlapping, floats, 4, FASTOPT_OVERLAP);
    SECOND_REFUSED(turned, floats, 4, FASTOPT_OVERLAP);
    for (i = 0; i < 4; i++)
        REFUSES(param[i] != 1 || more[i] != 1 || grad[i] != 1, 0);

    SECOND_REFUSED(none, floats, 0, FASTOPT_OK); /* of no elements: nothing is needed */
    SECOND_REFUSED(overlapping, floats, 3, FASTOPT_OK); /* side by side */
    REFUSES(api->run(sgd, &scalars, NULL, 0, 0), FASTOPT_OK);
    REFUSES(param[0] != 0 || param[3] != 0 || more[2] != 0.5f || more[3] != 1, 0);
    return 0;
}

#ifdef __cplusplus
}
#endif
