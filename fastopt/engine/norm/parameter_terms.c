/* ROWS: the gradients of weight and bias, as sums over samples. */
#include "norm/apply.h"
#include "norm/tile.h"

static void run_parameter_terms(const norm_t *norm, tile_args_t *args, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col,
                                ptrdiff_t cols)
{
    ptrdiff_t sums = row / norm->outer_part * norm->channels.count + col;
    _Alignas(8) char parameters[2][GROUP * sizeof(double)];
    args->sizes[TILE_ROWS] = rows;
    args->sizes[TILE_COLUMNS] = cols;
    args->sizes[SUM_STEP] = 0;
    for (int n = 0; n < norm->nreads; n++)
        args->sizes[AHEAD + norm->reads[n]] = 0;
    for (ptrdiff_t r = 0; r < rows; r++) {
        ptrdiff_t statistic = statistic_of(norm, row + r, col);
        for (int i = 0; i < 2; i++) /* mean and rstd are also the first two parameters of the input gradient */
            set_real(norm, parameters[i], r, get_real(norm, norm->parameters[i], statistic));
    }
    args->arrays[PARAMETER] = parameters[0];
    args->arrays[PARAMETER + 1] = parameters[1];
    args->arrays[SUM] = norm->dbias_parts + sums;
    args->arrays[SUM + 1] = norm->dweight_parts + sums;
    norm->parameters_kernel(args->arrays, args->sizes);
}

/* Add a group of samples. Its terms are added up before they join the sums. Samples that can't be read in place are
 * loaded into blocks. */
static void add_group_terms(const norm_t *norm, tile_args_t *args, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col,
                            ptrdiff_t cols_end)
{
    int in_place = norm->reads_direct && run_from(&norm->outer, row) >= rows;
    ptrdiff_t widest = BLOCK_BYTES / norm->itemsize / GROUP;
    for (ptrdiff_t c = col, cols; c < cols_end; c += cols) {
        cols = smaller(cols_end - c, run_from(&norm->channels, c));
        cols = in_place ? cols : smaller(cols, widest);
        for (int n = 0; n < norm->nreads; n++) {
            int i = norm->reads[n];
            tile_t tile = tile_of(norm, i, 0, row, rows, c, cols);
            args->arrays[i] = in_place ? tile.data : args->blocks[i];
            args->sizes[STEP + i] = in_place ? in_elements(norm, tile.row_stride) : cols;
            if (!in_place)
                load_rows(norm, i, 0, row, rows, c, cols, args->blocks[i]);
        }
        run_parameter_terms(norm, args, row, rows, c, cols);
    }
}

void add_parameter_terms(const norm_t *norm, int thread, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                         ptrdiff_t cols_end)
{
    for (ptrdiff_t rows; row < rows_end; row += rows) {
        rows = smaller(rows_end - row, GROUP);
        add_group_terms(norm, thread_scratch_of(norm, thread), row, rows, col, cols_end);
    }
}
