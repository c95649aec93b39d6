from fastopt.engine.core.intake cimport Intake
from fastopt.engine.update.job cimport list_t
from fastopt.engine.update.update cimport Update, scalars_t


cdef int run_tensors(Update update, Intake intake, int variant, const scalars_t *scalars, int wanted) except -1
cdef int run_list(list_t *todo, int wanted, bint releases_gil) except -1
