// The interface of emulator.cpp for the launch and for the watch (watch.cpp).
#pragma once
#include "cuda.h"

#include <string>

namespace emulator {

enum class Schedule : int { Forward, Reverse, Random };

struct Region {  // memory that a kernel may touch
    const char* first;
    size_t size;
};

struct Launch {
    dim3 grid, block;
    size_t shared_bytes;
    void** arguments;
    Schedule schedule;
    uint64_t seed;
    std::string skip_file;  // the barrier or wait that is skipped, to test whether a check notices
    int skip_line;
    const Region* regions;
    int region_count;
    void (*report)(const char* message);
    void (*visit)(Site site, const char* kind);
};

// The watch: it sees every access to memory and every barrier.
struct Watch {
    virtual void start_launch(const Launch& launch) = 0;
    virtual void end_launch() = 0;
    virtual void start_block() = 0;
    virtual void block_barrier() = 0;
    virtual void warp_barrier(int warp) = 0;
    virtual void atomic(void* address, size_t size, const void* where) = 0;
    virtual void asynchronous(void* to, const void* from, size_t size, size_t valid) = 0;
};
extern Watch* watch;

void launch(const Launch& what, void (*kernel)(void**));

// For the watch.
[[gnu::format(printf, 1, 2)]] void fail(const char* format, ...);
void leave();
bool in_stack(const void* address);
int thread_number();
const void* shared_region(const void* address, size_t* size);
std::string base_name(const char* path);

}  // namespace emulator
