// The null GPU's driver: libcuda.so.1, and the CUDA runtime (cudart) functions that are patched into CuPy's wheel.
//
// The machine behind it is `device.py`: memory, launches, copies, waits, streams, graphs. This file only gives
// the functions of NVIDIA's two interfaces their C signatures and hands each on to Python through the table `host`.
// A function that stands in neither list below answers "not supported", which CuPy and numba-cuda raise by name.
//
//   cuda...      the runtime, which CuPy's wheel holds as a static library: `nullgpu_patch` turns each into a jump to ours
//   cu...        the driver, which CuPy and numba-cuda find with dlopen, dlsym and cuGetProcAddress
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef int Status;
enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_FOUND = 500, NOT_SUPPORTED = 801 };
enum { DEVICE_TO_DEVICE = 3 };

// What Python does. Every function returns a status; 0 is success. Handles are numbers that Python gives out.
struct Host {
    Status (*device_count)(int* count);
    Status (*device_attribute)(int attribute, int device, int* value);
    Status (*allocate)(void** memory, size_t bytes, int pinned);
    Status (*release)(void* memory);
    Status (*memory_kind)(const void* address, int* kind, int* device);
    Status (*copy)(void* to, const void* from, size_t bytes, int kind, int blocking, void* stream);
    Status (*fill)(void* memory, unsigned value, size_t width, size_t count, int blocking, void* stream);
    Status (*wait)(const char* what, void* handle);
    Status (*load)(const void* image, void** module);
    Status (*function)(void* module, const char* name, void** function);
    Status (*function_name)(void* function, const char** name);
    Status (*function_attribute)(void* function, int attribute, int* value);
    Status (*set_function_attribute)(void* function, int attribute, int value);
    Status (*launch)(void* function, const unsigned* sizes, void* stream, void** arguments);
    Status (*stream)(void** stream, unsigned flags);
    Status (*begin_capture)(void* stream);
    Status (*end_capture)(void* stream, void** graph);
    Status (*is_capturing)(void* stream, int* state);
    Status (*replay)(void* graph, void* stream);
    Status (*event)(void* event, void* stream);  // recorded in a stream
    const char* (*explain)(Status status, int with_text);
};
static struct Host host;
void nullgpu_connect(const struct Host* functions) { host = *functions; }

static __thread int device;  // the current one, of each thread
int nullgpu_current_device(void) { return device; }

// --- the runtime: functions named our_<name> replace <name> --------------------------------------------------

const char* our_cudaGetErrorName(Status s) { return host.explain(s, 0); }
const char* our_cudaGetErrorString(Status s) { return host.explain(s, 1); }
Status our_cudaGetLastError(void) { return SUCCESS; }
Status our_cudaPeekAtLastError(void) { return SUCCESS; }
Status our_cudaDriverGetVersion(int* v) { return *v = 13000, SUCCESS; }
Status our_cudaRuntimeGetVersion(int* v) { return *v = 12090, SUCCESS; }
Status our_cudaGetDevice(int* d) { return *d = device, SUCCESS; }
Status our_cudaGetDeviceCount(int* n) { return host.device_count(n); }
Status our_cudaSetDevice(int d) {
    int count;
    host.device_count(&count);
    if (d < 0 || d >= count) return 101;  // cudaErrorInvalidDevice
    return device = d, SUCCESS;
}
Status our_cudaDeviceGetAttribute(int* v, int attribute, int d) { return host.device_attribute(attribute, d, v); }
Status our_cudaDeviceGetPCIBusId(char* s, int n, int d) { return snprintf(s, n, "0000:%02x:00.0", d), SUCCESS; }
Status our_cudaDeviceGetLimit(size_t* v, int limit) { return *v = 0, SUCCESS; }
Status our_cudaDeviceCanAccessPeer(int* v, int a, int b) { return *v = 0, SUCCESS; }
Status our_cudaDeviceSynchronize(void) { return host.wait("device", 0); }

struct Properties {  // the first fields of cudaDeviceProp
    char name[256], uuid[16], luid[8];
    unsigned mask;
    size_t memory, shared;
    int registers, warp;
    size_t pitch;
    int threads, block[3], grid[3], clock;
    size_t constant;
    int major, minor;
    size_t texture, texture_pitch;
    int overlap, multiprocessors;
};
Status our_cudaGetDeviceProperties_v2(struct Properties* p, int d) {
    memset(p, 0, 1008);
    int value[20], wanted[] = {75, 76, 16, 8, 13};
    for (int k = 0; k < 5; ++k)
        if (host.device_attribute(wanted[k], d, &value[k])) return 101;
    snprintf(p->name, sizeof p->name, "Null GPU sm_%d%d", value[0], value[1]);
    p->memory = 80ul << 30, p->shared = value[3], p->registers = 65536, p->warp = 32, p->threads = 1024, p->clock = value[4];
    p->block[0] = p->block[1] = 1024, p->block[2] = 64, p->grid[0] = 0x7fffffff, p->grid[1] = p->grid[2] = 65535;
    p->constant = 65536, p->major = value[0], p->minor = value[1], p->multiprocessors = value[2];
    return SUCCESS;
}
Status our_cudaGetDeviceProperties(struct Properties* p, int d) { return our_cudaGetDeviceProperties_v2(p, d); }

Status our_cudaMalloc(void** p, size_t n) { return host.allocate(p, n, 0); }
Status our_cudaFree(void* p) { return host.release(p); }
Status our_cudaHostAlloc(void** p, size_t n, unsigned flags) { return host.allocate(p, n, 1); }
Status our_cudaFreeHost(void* p) { return host.release(p); }
Status our_cudaMemGetInfo(size_t* available, size_t* total) { return *available = *total = 80ul << 30, SUCCESS; }
Status our_cudaMemcpy(void* to, const void* from, size_t n, int kind) { return host.copy(to, from, n, kind, 1, 0); }
Status our_cudaMemcpyAsync(void* to, const void* from, size_t n, int kind, void* s) { return host.copy(to, from, n, kind, 0, s); }
Status our_cudaMemcpyPeer(void* to, int a, const void* from, int b, size_t n) { return host.copy(to, from, n, DEVICE_TO_DEVICE, 1, 0); }
Status our_cudaMemcpyPeerAsync(void* to, int a, const void* from, int b, size_t n, void* s) {
    return host.copy(to, from, n, DEVICE_TO_DEVICE, 0, s);
}
Status our_cudaMemset(void* p, int v, size_t n) { return host.fill(p, v & 255, 1, n, 1, 0); }
Status our_cudaMemsetAsync(void* p, int v, size_t n, void* s) { return host.fill(p, v & 255, 1, n, 0, s); }
struct PointerAttributes {
    int type, device;
    void *device_pointer, *host_pointer;
};
Status our_cudaPointerGetAttributes(struct PointerAttributes* a, const void* p) {
    memset(a, 0, sizeof *a);
    a->device_pointer = (void*)p;
    return host.memory_kind(p, &a->type, &a->device);
}

Status our_cudaStreamCreate(void** s) { return host.stream(s, 0); }
Status our_cudaStreamCreateWithFlags(void** s, unsigned flags) { return host.stream(s, flags); }
Status our_cudaStreamCreateWithPriority(void** s, unsigned flags, int priority) { return host.stream(s, flags); }
Status our_cudaStreamDestroy(void* s) { return SUCCESS; }
Status our_cudaStreamGetFlags(void* s, unsigned* flags) { return *flags = 1, SUCCESS; }
Status our_cudaStreamGetPriority(void* s, int* priority) { return *priority = 0, SUCCESS; }
Status our_cudaDeviceGetStreamPriorityRange(int* least, int* greatest) { return *least = *greatest = 0, SUCCESS; }
Status our_cudaStreamSynchronize(void* s) { return host.wait("stream", s); }
Status our_cudaStreamQuery(void* s) { return SUCCESS; }  // all that was asked for is done
Status our_cudaStreamWaitEvent(void* s, void* e, unsigned flags) { return SUCCESS; }
Status our_cudaStreamBeginCapture(void* s, int mode) { return host.begin_capture(s); }
Status our_cudaStreamEndCapture(void* s, void** graph) { return host.end_capture(s, graph); }
Status our_cudaStreamIsCapturing(void* s, int* state) { return host.is_capturing(s, state); }
Status our_cudaThreadExchangeStreamCaptureMode(int* mode) { return SUCCESS; }
Status our_cudaGraphInstantiate(void** run, void* graph, unsigned long long flags) { return *run = graph, SUCCESS; }
Status our_cudaGraphInstantiateWithFlags(void** run, void* graph, unsigned long long flags) { return *run = graph, SUCCESS; }
Status our_cudaGraphLaunch(void* graph, void* s) { return host.replay(graph, s); }
Status our_cudaGraphUpload(void* graph, void* s) { return SUCCESS; }
Status our_cudaGraphDestroy(void* graph) { return SUCCESS; }
Status our_cudaGraphExecDestroy(void* graph) { return SUCCESS; }

// An event is the host's time at which it was recorded, in milliseconds.
Status our_cudaEventCreate(void** e) { return *e = calloc(1, sizeof(double)), SUCCESS; }
Status our_cudaEventCreateWithFlags(void** e, unsigned flags) { return our_cudaEventCreate(e); }
Status our_cudaEventDestroy(void* e) { return free(e), SUCCESS; }
Status our_cudaEventRecord(double* e, void* s) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    *e = t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
    return host.event(e, s);
}
Status our_cudaEventQuery(void* e) { return SUCCESS; }
Status our_cudaEventSynchronize(void* e) { return host.wait("event", e); }
Status our_cudaEventElapsedTime(float* ms, double* start, double* end) { return *ms = (float)(*end - *start), SUCCESS; }
Status our_cudaProfilerStart(void) { return SUCCESS; }
Status our_cudaProfilerStop(void) { return SUCCESS; }

// Everything else of the runtime.
Status nullgpu_unsupported(void) { return NOT_SUPPORTED; }

// The function at an address becomes a jump to another one: mov rax, target; jmp rax.
int nullgpu_patch(void* at, void* target) {
    const long page = sysconf(_SC_PAGESIZE);
    unsigned char code[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
    memcpy(code + 2, &target, 8);
    if (mprotect((void*)((uintptr_t)at & ~(page - 1)), 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC)) return -1;
    memcpy(at, code, sizeof code);
    return 0;
}

// --- the driver -------------------------------------------------------------------------------------------------

Status cuInit(unsigned flags) { return SUCCESS; }
Status cuDriverGetVersion(int* v) { return *v = 13000, SUCCESS; }
Status cuGetErrorName(Status s, const char** text) { return *text = host.explain(s, 0), SUCCESS; }
Status cuGetErrorString(Status s, const char** text) { return *text = host.explain(s, 1), SUCCESS; }
Status cuGetExportTable(void** table, const void* id) { return NOT_FOUND; }

Status cuDeviceGetCount(int* n) {
    if (host.device_count) return host.device_count(n);
    return *n = 0, SUCCESS;
}
Status cuDeviceGet(int* d, int number) { return *d = number, SUCCESS; }
Status cuDeviceGetName(char* name, int size, int d) { return snprintf(name, size, "Null GPU"), SUCCESS; }
Status cuDeviceGetUuid_v2(char* id, int d) { return memset(id, 1 + d, 16), SUCCESS; }
Status cuDeviceTotalMem_v2(size_t* n, int d) { return *n = 80ul << 30, SUCCESS; }
Status cuDeviceGetAttribute(int* v, int attribute, int d) { return host.device_attribute(attribute, d, v); }
Status cuDeviceCanAccessPeer(int* v, int a, int b) { return *v = 0, SUCCESS; }

// The one context of a device is its number and 0x1000.
static void* context(int d) { return (void*)(uintptr_t)(0x1000 + d); }
static __thread int stack[64], depth;
Status cuDevicePrimaryCtxRetain(void** c, int d) { return *c = context(d), SUCCESS; }
Status cuDevicePrimaryCtxRelease_v2(int d) { return SUCCESS; }
Status cuDevicePrimaryCtxGetState(int d, unsigned* flags, int* active) { return *flags = 0, *active = 1, SUCCESS; }
Status cuCtxGetCurrent(void** c) { return *c = context(device), SUCCESS; }
Status cuCtxSetCurrent(void* c) { return device = c ? (int)((uintptr_t)c - 0x1000) : 0, SUCCESS; }
Status cuCtxPushCurrent_v2(void* c) {
    if (depth < 64) stack[depth++] = device;
    return cuCtxSetCurrent(c);
}
Status cuCtxPopCurrent_v2(void** c) {
    if (c) *c = context(device);
    if (depth) device = stack[--depth];
    return SUCCESS;
}
Status cuCtxGetDevice(int* d) { return *d = device, SUCCESS; }
Status cuCtxSynchronize(void) { return host.wait("device", 0); }
Status cuCtxGetApiVersion(void* c, unsigned* v) { return *v = 13000, SUCCESS; }
Status cuStreamGetCtx(void* s, void** c) { return cuCtxGetCurrent(c); }

Status cuModuleLoadData(void** m, const void* image) { return host.load(image, m); }
Status cuModuleLoadDataEx(void** m, const void* image, unsigned n, void* options, void* values) { return host.load(image, m); }
Status cuModuleUnload(void* m) { return SUCCESS; }
Status cuModuleGetFunction(void** f, void* m, const char* name) { return host.function(m, name, f); }
Status cuLibraryLoadData(void** l, const void* image, void* a, void* b, unsigned c, void* d, void* e, unsigned n) { return host.load(image, l); }
Status cuLibraryUnload(void* l) { return SUCCESS; }
Status cuLibraryGetKernel(void** k, void* l, const char* name) { return host.function(l, name, k); }
Status cuKernelGetFunction(void** f, void* k) { return *f = k, SUCCESS; }
Status cuKernelGetAttribute(int* v, int attribute, void* k, int d) { return host.function_attribute(k, attribute, v); }
Status cuKernelGetName(const char** name, void* k) { return host.function_name(k, name); }
Status cuFuncGetName(const char** name, void* f) { return host.function_name(f, name); }
Status cuFuncGetAttribute(int* v, int attribute, void* f) { return host.function_attribute(f, attribute, v); }
Status cuFuncSetAttribute(void* f, int attribute, int v) { return host.set_function_attribute(f, attribute, v); }
Status cuFuncSetCacheConfig(void* f, int c) { return SUCCESS; }
Status cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, void* f, int threads, size_t shared) { return *n = 2, SUCCESS; }
Status cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, void* f, int t, size_t s, unsigned g) { return *n = 2, SUCCESS; }
Status cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void* s,
                      void** arguments, void** extra) {
    const unsigned sizes[] = {gx, gy, gz, bx, by, bz, shared};
    return host.launch(f, sizes, s, arguments);
}
struct LaunchConfig {
    unsigned sizes[7];
    void* stream;
};
Status cuLaunchKernelEx(const struct LaunchConfig* c, void* f, void** arguments, void** extra) {
    return host.launch(f, c->sizes, c->stream, arguments);
}

Status cuMemGetInfo_v2(size_t* available, size_t* total) { return our_cudaMemGetInfo(available, total); }
Status cuMemAlloc_v2(void** p, size_t n) { return host.allocate(p, n, 0); }
Status cuMemFree_v2(void* p) { return host.release(p); }
Status cuMemHostAlloc(void** p, size_t n, unsigned flags) { return host.allocate(p, n, 1); }
Status cuMemFreeHost(void* p) { return host.release(p); }
Status cuMemcpyHtoD_v2(void* to, const void* from, size_t n) { return host.copy(to, from, n, 1, 1, 0); }
Status cuMemcpyDtoH_v2(void* to, const void* from, size_t n) { return host.copy(to, from, n, 2, 1, 0); }
Status cuMemcpyDtoD_v2(void* to, const void* from, size_t n) { return host.copy(to, from, n, 3, 1, 0); }
Status cuMemcpyHtoDAsync_v2(void* to, const void* from, size_t n, void* s) { return host.copy(to, from, n, 1, 0, s); }
Status cuMemcpyDtoHAsync_v2(void* to, const void* from, size_t n, void* s) { return host.copy(to, from, n, 2, 0, s); }
Status cuMemcpyDtoDAsync_v2(void* to, const void* from, size_t n, void* s) { return host.copy(to, from, n, 3, 0, s); }
Status cuMemsetD8_v2(void* p, unsigned char v, size_t n) { return host.fill(p, v, 1, n, 1, 0); }
Status cuMemsetD8Async(void* p, unsigned char v, size_t n, void* s) { return host.fill(p, v, 1, n, 0, s); }

Status cuStreamCreate(void** s, unsigned flags) { return host.stream(s, flags); }
Status cuStreamDestroy_v2(void* s) { return SUCCESS; }
Status cuStreamSynchronize(void* s) { return host.wait("stream", s); }
Status cuStreamQuery(void* s) { return SUCCESS; }
Status cuStreamWaitEvent(void* s, void* e, unsigned flags) { return SUCCESS; }
Status cuStreamIsCapturing(void* s, int* state) { return host.is_capturing(s, state); }
Status cuEventCreate(void** e, unsigned flags) { return our_cudaEventCreate(e); }
Status cuEventDestroy_v2(void* e) { return our_cudaEventDestroy(e); }
Status cuEventRecord(void* e, void* s) { return our_cudaEventRecord(e, s); }
Status cuEventQuery(void* e) { return SUCCESS; }
Status cuEventSynchronize(void* e) { return host.wait("event", e); }
Status cuEventElapsedTime(float* ms, void* start, void* end) { return our_cudaEventElapsedTime(ms, start, end); }

// cuda.bindings asks for every function of the driver by name, and calls few: the newest version of a name is meant.
Status cuGetProcAddress(const char* name, void** function, int version, uint64_t flags) {
    static void* self;
    char versioned[128];
    if (!self) self = dlopen("libcuda.so.1", RTLD_NOW);
    snprintf(versioned, sizeof versioned, "%s_v2", name);
    if (!(*function = dlsym(self, versioned)) && !(*function = dlsym(self, name))) *function = (void*)nullgpu_unsupported;
    return SUCCESS;
}
Status cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t flags, int* status) {
    if (status) *status = 0;
    return cuGetProcAddress(name, function, version, flags);
}
