/* A stand-in for the CUDA driver: one device of compute capability 9.0 whose memory is the host's, and on which kernels do
 * nothing. It tells of every call that matters, a line each; from any event to any other, 3 ms pass. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TELL(...) (printf(__VA_ARGS__), putchar('\n'), fflush(stdout), 0)

static uintptr_t current; /* the context */
static uintptr_t captured; /* the stream that was asked for last */

static int init(unsigned flags) { return (int)flags; }
static int version(int *number) { return *number = 13050, 0; }
static int device_count(int *count) { return *count = 1, 0; }
static int device(int *handle, int number) { return *handle = number, 0; }
static int attribute(int *value, int which, int of)
{
    return *value = which == 16 ? 132 : which == 38 ? 50 << 20 : which == 75 ? 9 : of, 0;
}
static int device_name(char *name, int size, int of) { return snprintf(name, size, "Stand-in %d", of), 0; }
static int retain(uintptr_t *context, int of) { return *context = 0xc0 + of, 0; }
static int current_context(uintptr_t *context) { return *context = current, 0; }
static int set_current(uintptr_t context) { return current = context, 0; }
static int synchronize(void) { return TELL("synchronize"); }
static int push(uintptr_t context) { return current = context, TELL("push"); }
static int pop(uintptr_t *context) { return *context = current, current = 0, TELL("pop"); }
static int load(uintptr_t *library, const char *code) { return *library = 1, TELL("load %s", code + 1); }
static int kernel(uintptr_t *handle, uintptr_t library, const char *name)
{
    return *handle = library, TELL("kernel %s", strstr(name, "kernel") ? "kernel" : name);
}
static int function(uintptr_t *handle, uintptr_t of) { return *handle = of, 0; }
static int device_of(int *number, int which, uintptr_t address) { return *number = 0, which == 9 && address ? 0 : 1; }
static int pinned(void **memory, size_t size, unsigned flags)
{
    return *memory = malloc(size), (int)flags | TELL("allocate %zu pinned", size);
}
static int allocate(void **memory, size_t size, uintptr_t stream)
{
    return *memory = calloc(1, size), TELL("allocate %zu on %zu", size, stream);
}
static int copy(void *to, const void *from, size_t size, uintptr_t stream)
{
    return memcpy(to, from, size), TELL("copy %zu on %zu", size, stream);
}
static int copy_on_device(void *to, const void *from, size_t size, uintptr_t stream)
{
    return memcpy(to, from, size), TELL("copy %zu on the device on %zu", size, stream);
}
static int fetch(void *to, const void *from, size_t size, uintptr_t stream)
{
    return memcpy(to, from, size), TELL("fetch %zu on %zu", size, stream);
}
static int synchronize_stream(uintptr_t stream) { return TELL("synchronize on %zu", stream); }
static int release(void *memory, uintptr_t stream) { return free(memory), TELL("free on %zu", stream); }
static int release_pinned(void *memory) { return free(memory), 0; }
static int event(uintptr_t *handle, unsigned flags)
{
    return *handle = 0xe, flags == 2 ? 0 : TELL("event that tells the time");
}
static int elapsed(float *milliseconds, uintptr_t from, uintptr_t to) { return *milliseconds = 3, from != to; }
static int wait_for_event(uintptr_t handle) { return TELL("synchronize with an event"), handle != 0xe; }
static int record(uintptr_t handle, uintptr_t stream) { return TELL("record on %zu", stream), handle != 0xe; }
static int wait_for(uintptr_t stream, uintptr_t handle, unsigned flags)
{
    return TELL("wait on %zu", stream), handle != 0xe || flags;
}
static int begin_capture(uintptr_t stream, int mode) { return captured = stream, mode; }
static int is_capturing(uintptr_t stream, int *status) { return *status = stream == captured, 0; }
static int forget(uintptr_t handle) { return handle != 0xe; }

static int launch(uintptr_t handle, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty, unsigned tz,
                  unsigned shared, uintptr_t stream, void **parameters, void **extra)
{
    const unsigned char *buffer = extra[1];
    size_t size = *(const size_t *)extra[3];
    int good = handle == 1 && y == 1 && z == 1 && ty == 1 && tz == 1 && !shared && !parameters && current == 0xc0
               && extra[0] == (void *)1 && extra[2] == (void *)2 && !extra[4];
    printf("launch %u x %u on %zu: ", x, threads, stream);
    for (size_t i = 0; i < size; i++)
        printf("%02x", buffer[i]);
    return TELL(""), !good;
}

static const struct { const char *name; void *address; } FUNCTIONS[] = {
    {"cuInit", init}, {"cuDriverGetVersion", version}, {"cuDeviceGetCount", device_count}, {"cuDeviceGet", device},
    {"cuDeviceGetAttribute", attribute}, {"cuDevicePrimaryCtxRetain", retain}, {"cuCtxGetCurrent", current_context},
    {"cuCtxPushCurrent", push}, {"cuCtxPopCurrent", pop}, {"cuLibraryLoadData", load}, {"cuLibraryGetKernel", kernel},
    {"cuKernelGetFunction", function}, {"cuPointerGetAttribute", device_of}, {"cuMemHostAlloc", pinned},
    {"cuMemAllocAsync", allocate}, {"cuMemcpyHtoDAsync", copy}, {"cuMemFreeAsync", release},
    {"cuMemFreeHost", release_pinned}, {"cuEventCreate", event}, {"cuEventRecord", record},
    {"cuStreamWaitEvent", wait_for}, {"cuEventDestroy", forget}, {"cuLaunchKernel", launch},
    {"cuDeviceGetName", device_name}, {"cuCtxSetCurrent", set_current}, {"cuCtxSynchronize", synchronize},
    {"cuMemcpyDtoDAsync", copy_on_device}, {"cuEventElapsedTime", elapsed}, {"cuEventSynchronize", wait_for_event},
    {"cuMemcpyDtoHAsync", fetch}, {"cuStreamSynchronize", synchronize_stream}, {"cuStreamBeginCapture", begin_capture}, {"cuStreamIsCapturing", is_capturing},
};

int cuGetProcAddress_v2(const char *name, void **address, int version_wanted, uint64_t flags, int *status)
{
    (void)version_wanted, (void)flags;
    *address = NULL;
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++)
        if (!strcmp(FUNCTIONS[i].name, name))
            *address = FUNCTIONS[i].address;
    if (!strcmp(name, "cuGetProcAddress"))
        *address = cuGetProcAddress_v2;
    if (status)
        *status = *address ? 0 : 1;
    return *address ? 0 : 500;
}

int cuGetProcAddress(const char *name, void **address, int version_wanted, uint64_t flags)
{
    return cuGetProcAddress_v2(name, address, version_wanted, flags, NULL);
}
