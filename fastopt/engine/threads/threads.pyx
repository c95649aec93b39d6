# cython: language_level=3
"""The number of threads of a call, and the pool of threads that the whole package shares."""

import os

from fastopt.engine.core.hyperparameters import whole
from fastopt.common.messages import brief

cdef extern from "core/tuning.h" nogil:
    int SERIAL_BELOW

cdef extern from "threads/limits.h" nogil:
    void init_limits()
    int cpu_limit()
    void c_pretend_cpu_limit "pretend_cpu_limit" (int)
    double c_cgroup_quota "cgroup_quota" ()
    double read_quota(const char *, const char *)
    int c_choose_threads "choose_threads" (Py_ssize_t, int)
    void set_default_threads(int)

cdef extern from "threads/pool.h" nogil:
    void init_pool()
    int pool_size()

cdef extern from "threads/parallel_for.h" nogil:
    void c_parallel_for "parallel_for" (range_fn, void *, Py_ssize_t, Py_ssize_t, int)

init_limits()
init_pool()

# The largest number of threads that a call may request.
cdef int MANY = 1 << 20


cdef void parallel_for(
    range_fn run, void *argument, Py_ssize_t units, Py_ssize_t largest_chunk, int threads
) noexcept nogil:
    c_parallel_for(run, argument, units, largest_chunk, threads)


cdef int choose_threads(Py_ssize_t array_elements, int wanted) noexcept nogil:
    return c_choose_threads(array_elements, wanted)


cdef int threads_wanted(num_threads) except -1:
    """Return the number of threads that a call requests; 0 if it requests none."""
    if num_threads is None:
        return 0
    if type(num_threads) is int and 1 <= num_threads <= MANY:  # saves 0.1 us
        return num_threads
    return whole("num_threads", num_threads, "a whole number, 1 or more", MANY)


def set_num_threads(num_threads):
    """Set the default number of threads of a call; None restores the default of the environment.

    The environment's default is ``FASTOPT_NUM_THREADS``, or else ``OMP_NUM_THREADS``; without either, it is one thread for
    each processor. The affinity mask and the cgroup quota of the process always limit the number of threads.

    Parameters
    ----------
    num_threads : int or None
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If ``num_threads`` is not a whole number or below 1.

    Examples
    --------
    >>> import fastopt
    >>> fastopt.set_num_threads(1)
    >>> fastopt.get_num_threads()
    1
    >>> fastopt.set_num_threads(None)
    """
    set_default_threads(threads_of_environment() if num_threads is None else threads_wanted(num_threads))


def threads_of_environment() -> int:
    """Return FASTOPT_NUM_THREADS, or else OMP_NUM_THREADS (for its outermost level), or else 0."""
    given = os.environ.get("FASTOPT_NUM_THREADS", "").strip()
    if given:
        if not (given.isascii() and given.isdecimal() and int(given)):
            raise ValueError(f"FASTOPT_NUM_THREADS is {brief(given)}; expected a whole number, 1 or more")
        return min(int(given), MANY)
    outermost = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(int(outermost), MANY) if outermost.isascii() and outermost.isdecimal() else 0


def get_num_threads() -> int:
    """Return the number of threads that a large update uses by default.

    Examples
    --------
    >>> import fastopt
    >>> fastopt.get_num_threads() >= 1
    True
    """
    return c_choose_threads(SERIAL_BELOW, 0)


def limits() -> dict:
    """Return the limits on this process's threads, and the number of threads that it has started."""
    return {"cpus": cpu_limit(), "cgroup_quota": c_cgroup_quota() or None, "started": pool_size()}


def cgroup_quota_in(groups: str, root: str) -> float | None:
    """Return the quota that these files specify, for a test."""
    return read_quota(groups.encode(), root.encode()) or None


def pretend_cpu_limit(int cpus):
    """Override the number of available processors, for a test; 0 ends the override."""
    c_pretend_cpu_limit(cpus)


set_num_threads(None)
