// The watch. The kernel is compiled with -fsanitize=thread, which puts a call in front of every access to
// memory; the calls come here and not to ThreadSanitizer. From the addresses this file finds faults that
// go unnoticed on a GPU until it is too late:
//
//   - an access outside of every array that the kernel was given;
//   - two threads at one address, one of them writing, with no barrier between them (a race), in
//     shared memory within a block and in global memory within and between blocks;
//
// and counts what makes a kernel slow: bytes moved, 32-byte sectors of memory that a warp touches at
// once, and bank conflicts in shared memory.
#include "emulator.h"

#include <cstdio>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include <dlfcn.h>
#include <link.h>

namespace emulator {
namespace {

struct Access {
    int thread = -1, block = -1, episode = -1, warp_episode = -1;
    const void* where = nullptr;
    bool atomic = false;
};

struct Shadow {  // of one byte
    Access write, read;
    Access earlier;  // an atomic of another thread, of another block if there was one, before the atomic `write`
    bool read_by_many = false;  // threads that no later barrier of one warp could order
    bool ever_read = false, ever_written = false;
};

// What the lanes of a warp touch in one instruction at one time.
struct Gather {
    std::vector<std::pair<const char*, int>> lanes;
};

struct Counters {  // in the order in which they are handed over
    long long global_reads, global_writes, global_bytes, distinct_bytes, sectors, least_sectors;
    long long shared_accesses, shared_wavefronts, least_wavefronts;
};

struct Seen {  // one access, in the order in which it is handed over
    long long block, thread, interval;  // interval: barriers of its block before it
    long long array;                    // the number of the array in global memory; −1, −2, … for arrays in shared memory
    long long offset, size, write;      // bytes
    long long where;                    // offset of the instruction in this library
};

struct Onlooker : Watch {
    const Launch* launch_ = nullptr;
    bool recording = false;
    std::vector<Seen> seen;
    std::vector<const char*> shared_arrays;  // of the launch, in the order of their first access
    int first_episode = 0;                   // of the block
    std::unordered_map<const char*, Shadow> memory;
    // By instruction and warp: the addresses that its lanes touch at the first, second, ... time. A lane runs ahead
    // of the others as far as it can, so the n-th accesses of all lanes are put together, as in a warp.
    struct Gathers {
        std::vector<Gather> times;
        int seen[32] = {};  // by each lane
    };
    std::map<std::pair<const void*, int>, Gathers> gathers;
    std::vector<int> warp_episodes;
    std::vector<std::pair<const char*, const char*>> image;  // of this library: constants
    Counters counters{};
    int block = -1, episode = 0;
    bool asynchronous_now = false;

    void start_launch(const Launch& launch) override {
        launch_ = &launch;
        memory.clear(), gathers.clear(), seen.clear(), shared_arrays.clear();
        counters = {};
        block = -1, episode = 0;
    }
    void end_launch() override {
        flush();
        launch_ = nullptr;
    }
    void start_block() override {
        flush();
        ++block, ++episode;
        first_episode = episode;
        warp_episodes.assign(64, 0);
        for (auto it = memory.begin(); it != memory.end();) it = global(it->first) ? std::next(it) : memory.erase(it);
    }
    void block_barrier() override { ++episode; }
    void warp_barrier(int warp) override { ++warp_episodes[warp]; }
    void atomic(void* address, size_t size, const void* where) override { see(static_cast<const char*>(address), int(size), true, where, true); }
    void asynchronous(void* to, const void* from, size_t size, size_t valid) override {
        asynchronous_now = true;
        if (valid) see(static_cast<const char*>(from), int(valid), false, nullptr);
        see(static_cast<const char*>(to), int(size), true, nullptr);
        asynchronous_now = false;
    }

    bool global(const char* address) const {
        for (int k = 0; k < launch_->region_count; ++k) {
            const Region& r = launch_->regions[k];
            if (address >= r.first && address < r.first + r.size) return true;
        }
        return false;
    }

    bool ours(const char* address) {  // the library's data, the stack, the arguments: not the kernel's arrays
        if (in_stack(address)) return true;
        if (image.empty()) {
            dl_iterate_phdr(
                [](dl_phdr_info* info, size_t, void* self) {
                    for (int k = 0; k < info->dlpi_phnum; ++k)
                        if (info->dlpi_phdr[k].p_type == PT_LOAD) {
                            const char* low = reinterpret_cast<const char*>(info->dlpi_addr + info->dlpi_phdr[k].p_vaddr);
                            static_cast<Onlooker*>(self)->image.emplace_back(low, low + info->dlpi_phdr[k].p_memsz);
                        }
                    return 0;
                },
                this);
        }
        for (auto [low, high] : image)
            if (address >= low && address < high) return true;
        return false;
    }

    // The line of the source is found later, from the offset in this library.
    static long long offset(const void* where) {
        Dl_info info;
        return where && dladdr(where, &info) ? static_cast<const char*>(where) - static_cast<const char*>(info.dli_fbase) : 0;
    }

    void see(const char* address, int size, bool write, const void* where, bool atomic = false) {
        if (!launch_) return;
        size_t extent;
        const bool in_global = global(address) && global(address + size - 1);
        const bool in_shared = !in_global && shared_region(address, &extent);
        if (!in_global && !in_shared) {
            if (ours(address)) return;
            fail("thread %d %s memory outside of every array @%llx", thread_number(), write ? "writes" : "reads", offset(where));
            leave();
        }
        if (in_shared) {
            const char* first = static_cast<const char*>(shared_region(address, &extent));
            if (address + size > first + extent) {
                fail("thread %d %s beyond the end of a shared array @%llx", thread_number(), write ? "writes" : "reads", offset(where));
                leave();
            }
        }
        count(address, size, write, where, in_global);
        if (recording) record(address, size, write, where, in_global);
        Access me{thread_number(), block, episode, warp_episodes[thread_number() / 32], where, atomic};
        for (int k = 0; k < size; ++k) race(address + k, write, me, in_global);
    }

    void record(const char* address, int size, bool write, const void* where, bool in_global) {
        long long array = 0;
        size_t extent;
        const char* first;
        if (in_global) {
            while (address < launch_->regions[array].first || address >= launch_->regions[array].first + launch_->regions[array].size) ++array;
            first = launch_->regions[array].first;
        } else {
            first = static_cast<const char*>(shared_region(address, &extent));
            size_t number = 0;
            while (number < shared_arrays.size() && shared_arrays[number] != first) ++number;
            if (number == shared_arrays.size()) shared_arrays.push_back(first);
            array = -1 - (long long)number;
        }
        seen.push_back({block, thread_number(), episode - first_episode, array, address - first, size, write, offset(where)});
    }

    // Whether a barrier stands between an earlier access and this one.
    bool ordered(const Access& before, const Access& me) const {
        if (before.thread < 0 || (before.atomic && me.atomic)) return true;
        if (before.block != me.block) return false;
        if (before.thread == me.thread || before.episode != me.episode) return true;
        return before.thread / 32 == me.thread / 32 && before.warp_episode != me.warp_episode;
    }

    void race(const char* byte, bool write, const Access& me, bool in_global) {
        Shadow& shadow = memory[byte];
        if (bool& ever = write ? shadow.ever_written : shadow.ever_read; in_global && !ever) ever = true, ++counters.distinct_bytes;
        const bool after_earlier = !ordered(shadow.earlier, me), after_write = after_earlier || !ordered(shadow.write, me);
        const bool after_read = write && (!ordered(shadow.read, me) || (shadow.read_by_many && shadow.read.episode == me.episode));
        if (after_write || after_read) {
            const Access& other = after_earlier ? shadow.earlier : after_write ? shadow.write : shadow.read;
            fail("a race in %s memory: thread %d of block %d %s, thread %d of block %d %s with no barrier between @%llx @%llx",
                 in_global ? "global" : "shared", other.thread, other.block, after_write ? "writes" : "reads", me.thread, me.block,
                 write ? "writes" : "reads", offset(other.where), offset(me.where));
            leave();
        }
        if (write) {
            const bool same_thread = shadow.write.thread == me.thread && shadow.write.block == me.block;
            if (!me.atomic || !shadow.write.atomic) shadow.earlier = {};
            else if (!same_thread && (shadow.earlier.thread < 0 || shadow.earlier.block == me.block)) shadow.earlier = shadow.write;
            shadow.write = me;
            shadow.read = {}, shadow.read_by_many = false;
        } else {
            shadow.read_by_many = shadow.read.thread >= 0 && shadow.read.block == me.block && shadow.read.episode == me.episode &&
                                  (shadow.read_by_many || shadow.read.thread != me.thread);
            shadow.read = me;
        }
    }

    void count(const char* address, int size, bool write, const void* where, bool in_global) {
        if (in_global) (write ? counters.global_writes : counters.global_reads) += 1, counters.global_bytes += size;
        Gathers& all = gathers[{where, thread_number() / 32 * 2 + in_global}];
        const size_t time = all.seen[thread_number() % 32]++;
        if (time == all.times.size()) all.times.emplace_back();
        all.times[time].lanes.emplace_back(address, size);
    }

    // The address as if each array began with a sector: a GPU allocates memory in multiples of 256 bytes, the CPU
    // does not. So the same launch has the same count each time.
    uintptr_t as_on_a_gpu(const char* address) const {
        for (int k = 0; k < launch_->region_count; ++k) {
            const Region& r = launch_->regions[k];
            if (address >= r.first && address < r.first + r.size) return uintptr_t(address) + 256 - uintptr_t(r.first) % 256;
        }
        return uintptr_t(address);
    }

    void close(const Gather& gather, bool in_global) {
        if (in_global) {
            std::set<uintptr_t> sectors;
            std::set<uintptr_t> distinct;
            for (auto [address, size] : gather.lanes)
                for (uintptr_t a = as_on_a_gpu(address), end = a + size; a < end; ++a) sectors.insert(a / 32), distinct.insert(a);
            counters.sectors += sectors.size();
            counters.least_sectors += (distinct.size() + 31) / 32;
        } else {
            std::map<uintptr_t, std::set<uintptr_t>> banks;  // 32 banks of 4 bytes; one word of each at a time
            std::set<uintptr_t> words;
            for (auto [address, size] : gather.lanes)
                for (uintptr_t word = uintptr_t(address) / 4; word <= (uintptr_t(address) + size - 1) / 4; ++word)
                    banks[word % 32].insert(word), words.insert(word);
            size_t most = 0;
            for (auto& [bank, in_bank] : banks) most = most < in_bank.size() ? in_bank.size() : most;
            counters.shared_accesses += 1;
            counters.shared_wavefronts += most;
            counters.least_wavefronts += (words.size() + 31) / 32;
        }
    }

    void flush() {
        for (auto& [key, all] : gathers)
            for (const Gather& gather : all.times) close(gather, key.second & 1);
        gathers.clear();
    }
};

Onlooker onlooker;
[[gnu::constructor]] void look_on() { watch = &onlooker; }

}  // namespace
}  // namespace emulator

extern "C" void emulator_counters(long long* values) {
    const emulator::Counters& c = emulator::onlooker.counters;
    const long long all[] = {c.global_reads, c.global_writes, c.global_bytes, c.distinct_bytes, c.sectors, c.least_sectors, c.shared_accesses, c.shared_wavefronts, c.least_wavefronts};
    for (int k = 0; k < 9; ++k) values[k] = all[k];
}

// Starts or stops the recording of accesses.
extern "C" void emulator_record(int on) { emulator::onlooker.recording = on; }
// The number of recorded accesses. If `room` is given, they are copied there, 8 numbers each.
extern "C" long long emulator_accesses(long long* room) {
    const auto& seen = emulator::onlooker.seen;
    if (room) std::memcpy(room, seen.data(), seen.size() * sizeof(seen[0]));
    return seen.size();
}

// --- what -fsanitize=thread calls ----------------------------------------------------------------

#define SEE(kind, size, write) \
    extern "C" void __tsan_##kind(void* address) { emulator::onlooker.see(static_cast<const char*>(address), size, write, __builtin_return_address(0)); }
SEE(read1, 1, false)
SEE(read2, 2, false)
SEE(read4, 4, false)
SEE(read8, 8, false)
SEE(read16, 16, false)
SEE(write1, 1, true)
SEE(write2, 2, true)
SEE(write4, 4, true)
SEE(write8, 8, true)
SEE(write16, 16, true)
SEE(unaligned_read2, 2, false)
SEE(unaligned_read4, 4, false)
SEE(unaligned_read8, 8, false)
SEE(unaligned_read16, 16, false)
SEE(unaligned_write2, 2, true)
SEE(unaligned_write4, 4, true)
SEE(unaligned_write8, 8, true)
SEE(unaligned_write16, 16, true)
extern "C" void __tsan_read_range(void* address, size_t size) { emulator::onlooker.see(static_cast<const char*>(address), int(size), false, __builtin_return_address(0)); }
extern "C" void __tsan_write_range(void* address, size_t size) { emulator::onlooker.see(static_cast<const char*>(address), int(size), true, __builtin_return_address(0)); }
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_init() {}
extern "C" void* __tsan_memcpy(void* to, const void* from, size_t size) { return std::memcpy(to, from, size); }
extern "C" void* __tsan_memset(void* to, int value, size_t size) { return std::memset(to, value, size); }
