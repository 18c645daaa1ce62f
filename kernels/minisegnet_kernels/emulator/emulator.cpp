// A GPU of one multiprocessor, on the CPU. One block runs at a time. Each of its threads runs on a stack
// of its own (a fiber) until it comes to a barrier; then another one runs. The order is drawn anew between barriers, so that a kernel that
// relies on one order gives a wrong result in another.
//
// What a thread may not rely on is made visible: shared memory starts as NaN; asynchronous copies arrive
// only when they are waited for; a barrier that not every thread reaches is reported with its line.
#include "emulator.h"

#include "fibers.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

namespace emulator {

Builtins now;
Watch* watch = nullptr;

namespace {

constexpr size_t STACK = 256 << 10;
constexpr int WARPS = 32;  // of a block, at most
// A GPU's barrier does not wait for threads that have left the kernel. Our kernels must not rely on it; foreign ones do.
#ifdef FOREIGN_KERNELS
constexpr bool EXITED_THREADS_ARRIVE = true;
#else
constexpr bool EXITED_THREADS_ARRIVE = false;
#endif
enum class State { Fresh, Ready, AtBarrier, AtWarpBarrier, Done };

struct Copy {
    void* to;
    const void* from;
    size_t size, valid;
};

struct Thread {
    State state = State::Fresh;
    int number = 0;
    dim3 place;
    Site site = {nullptr, 0};  // where it waits
    unsigned mask = 0;
    struct Fiber* fiber = nullptr;
    std::vector<std::vector<Copy>> groups;  // asynchronous copies: committed groups, the open one last
};

struct Fiber {
    ucontext_t context;
    void* stack;
    fibers::Mark mark;
};

const Launch* current;
void (*body)(void**);
std::vector<Thread> threads;
std::vector<Fiber*> idle;
std::vector<int> order;
size_t turn;  // how far the scheduler has come in `order`
Thread* running;
ucontext_t scheduler;
fibers::Mark scheduler_mark;
std::mt19937_64 randomness;
std::map<int, std::vector<char>> shared;
std::vector<char> dynamic_shared;
unsigned char slots[WARPS][32][64];  // what the lanes of each warp give each other
int episodes[WARPS + 1];  // barriers that each warp, and the block, have met
bool failed;

void draw_order() {
    order.resize(threads.size());
    for (size_t k = 0; k < order.size(); ++k) order[k] = int(k);
    if (current->schedule == Schedule::Reverse) std::reverse(order.begin(), order.end());
    if (current->schedule == Schedule::Random) std::shuffle(order.begin(), order.end(), randomness);
}

void enter(Thread& thread) {
    running = &thread;
    now.thread = thread.place;
}

// A fiber runs threads one after another as long as none of them waits.
void work() {
    fibers::arrive(running->fiber->mark);
    for (;;) {
        Thread& thread = *running;
        body(current->arguments);
        fibers::finished();
        thread.state = State::Done;
        Fiber* fiber = thread.fiber;
        thread.fiber = nullptr;
        if (!fibers::ONE_PER_THREAD && !failed && turn + 1 < order.size() && threads[order[turn + 1]].state == State::Fresh) {
            Thread& next = threads[order[++turn]];
            next.fiber = fiber;
            enter(next);
            continue;
        }
        {
            const fibers::Quiet quiet;
            idle.push_back(fiber);
        }
        fibers::leave(fiber->mark, scheduler_mark, fibers::ONE_PER_THREAD);
        swapcontext(&fiber->context, &scheduler);
        fibers::arrive(fiber->mark);
    }
}

Fiber* fresh_fiber() {
    if (!idle.empty() && !fibers::ONE_PER_THREAD) {
        Fiber* fiber = idle.back();
        idle.pop_back();
        return fiber;
    }
    Fiber* fiber = new Fiber;
    fiber->stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK;
    fiber->context.uc_link = nullptr;
    makecontext(&fiber->context, work, 0);
    fiber->mark.bottom = fiber->stack, fiber->mark.size = STACK;
    fibers::created(fiber->mark);
    return fiber;
}

void destroy(Fiber* fiber) {
    fibers::destroyed(fiber->mark);
    munmap(fiber->stack, STACK);
    delete fiber;
}

void resume(Thread& thread) {
    if (thread.state == State::Fresh) thread.fiber = fresh_fiber();
    thread.state = State::Ready;
    enter(thread);
    fibers::leave(scheduler_mark, thread.fiber->mark, false);
    swapcontext(&scheduler, &thread.fiber->context);
    fibers::arrive(scheduler_mark);
}

// The running thread waits; the scheduler goes on with the others.
void wait(State state, unsigned mask, Site site) {
    Thread& me = *running;
    me.state = state, me.mask = mask, me.site = site;
    const int which = state == State::AtBarrier ? WARPS : me.number / 32, episode = episodes[which];
    fibers::at_barrier(which, episode);
    fibers::leave(me.fiber->mark, scheduler_mark, false);
    swapcontext(&me.fiber->context, &scheduler);
    fibers::arrive(me.fiber->mark);
    fibers::after_barrier(which, episode);
}

bool skipped(Site site, const char* kind) {
    const fibers::Quiet quiet;
    current->visit(site, kind);
    return current->skip_line == site.line && current->skip_file == base_name(site.file);
}

bool release_warps() {
    bool released = false;
    for (size_t first = 0; first < threads.size(); first += 32) {
        const size_t end = std::min(first + 32, threads.size());
        for (size_t t = first; t < end; ++t) {
            Thread& one = threads[t];
            if (one.state != State::AtWarpBarrier) continue;
            bool complete = true;
            for (size_t other = first; other < first + 32; ++other) {
                if (!(one.mask >> (other - first) & 1)) continue;
                if (other >= end) {
                    if (one.mask != 0xffffffffu) complete = false;  // a full mask means all lanes that exist
                    continue;
                }
                const Thread& o = threads[other];
                complete &= o.state == State::AtWarpBarrier && o.mask == one.mask && o.site.line == one.site.line && o.site.file == one.site.file;
            }
            if (!complete) continue;
            for (size_t other = first; other < end; ++other)
                if (one.mask >> (other - first) & 1 && threads[other].state == State::AtWarpBarrier) threads[other].state = State::Ready;
            ++episodes[first / 32];
            if (watch) watch->warp_barrier(int(first / 32));
            released = true;
        }
    }
    return released;
}

std::string named(const Thread& t) {
    char text[96];
    std::snprintf(text, sizeof text, "thread (%u, %u, %u)", t.place.x, t.place.y, t.place.z);
    return text;
}

std::string waiting(const Thread& t) {
    const char* what = t.state == State::AtBarrier ? "__syncthreads" : "the warp's barrier or shuffle";
    char text[320];
    std::snprintf(text, sizeof text, "%s waits for %s at %s:%d", named(t).c_str(), what, base_name(t.site.file).c_str(), t.site.line);
    return text;
}

// No thread can go on: either all wait at the same barrier, or the kernel is wrong.
void release_block() {
    const Thread *one = nullptr, *odd = nullptr;
    for (const Thread& t : threads) {
        if (t.state == State::AtBarrier && !one) one = &t;
    }
    for (const Thread& t : threads) {
        if (EXITED_THREADS_ARRIVE && one && t.state == State::Done) continue;
        const bool same = one && t.state == State::AtBarrier && t.site.line == one->site.line && t.site.file == one->site.file;
        if (!same && (!odd || odd->state == State::Done)) odd = &t;
    }
    if (!one) {
        for (const Thread& t : threads)
            if (t.state != State::Done) one = &t;
        fail("a barrier that not all threads of its mask reach: %s", waiting(*one).c_str());
    } else if (odd) {
        const std::string other = odd->state == State::Done ? named(*odd) + " has left the kernel" : waiting(*odd);
        fail("a barrier that not all threads of the block reach: %s, but %s", waiting(*one).c_str(), other.c_str());
    } else {
        for (Thread& t : threads)
            if (t.state != State::Done) t.state = State::Ready;
        ++episodes[WARPS];
        if (watch) watch->block_barrier();
        draw_order();
    }
}

void make_threads() {
    const fibers::Quiet quiet;
    const dim3 size = current->block;
    threads.assign(size_t(size.x) * size.y * size.z, Thread());
    for (size_t k = 0; k < threads.size(); ++k) {
        threads[k].number = int(k);
        threads[k].place = {unsigned(k % size.x), unsigned(k / size.x % size.y), unsigned(k / size.x / size.y)};
        threads[k].groups.emplace_back();
    }
    shared.clear();
    dynamic_shared.assign(current->shared_bytes + 16, char(0xff));
}

void run_block() {
    make_threads();
    if (watch) watch->start_block();
    draw_order();
    while (!failed) {
        bool progress = false, done = true;
        for (turn = 0; turn < order.size() && !failed; ++turn) {
            Thread& thread = threads[order[turn]];
            if (thread.state != State::Fresh && thread.state != State::Ready) continue;
            resume(thread);
            progress = true;
        }
        for (const Thread& t : threads) done &= t.state == State::Done;
        if (done) break;
        if (!failed && !release_warps() && !progress) release_block();
    }
    for (Thread& t : threads)  // of a kernel that failed
        if (t.fiber) destroy(t.fiber);
}

}  // namespace

std::string base_name(const char* path) {
    const std::string whole = path;
    return whole.substr(whole.find_last_of('/') + 1);
}

void fail(const char* format, ...) {
    if (failed) return;
    failed = true;
    char text[1000], whole[1200];
    va_list values;
    va_start(values, format);
    std::vsnprintf(text, sizeof text, format, values);
    va_end(values);
    std::snprintf(whole, sizeof whole, "block (%u, %u, %u): %s", now.block.x, now.block.y, now.block.z, text);
    current->report(whole);
}

void leave() {  // ends the running thread, whose next step would do harm
    fibers::leave(running->fiber->mark, scheduler_mark, true);
    swapcontext(&running->fiber->context, &scheduler);
}

bool in_stack(const void* address) {
    if (!running || !running->fiber) return false;
    const char* low = static_cast<const char*>(running->fiber->stack);
    return address >= low && address < low + STACK;
}

int thread_number() { return running->number; }

const void* shared_region(const void* address, size_t* size) {
    const char* a = static_cast<const char*>(address);
    for (auto& [id, memory] : shared)
        if (a >= memory.data() && a < memory.data() + memory.size()) return *size = memory.size(), memory.data();
    if (a >= dynamic_shared.data() && a < dynamic_shared.data() + current->shared_bytes)
        return *size = current->shared_bytes, dynamic_shared.data();
    return nullptr;
}

// --- what kernels call --------------------------------------------------------------------------

int lane() { return running->number % 32; }

void barrier(Site site) {
    if (!skipped(site, "barrier")) wait(State::AtBarrier, 0, site);
}

void warp_barrier(unsigned mask, Site site) {
    if (!skipped(site, "warp barrier")) wait(State::AtWarpBarrier, mask, site);
}

static void hand_over(void* to, const void* from, size_t size) {
    const fibers::Quiet quiet;  // the blocks share the slots, one after another
    std::memcpy(to, from, size);
}

void exchange(unsigned mask, const void* mine, void* theirs, size_t size, int from, Site site) {
    if (!(mask >> lane() & 1)) fail("%s shuffles at %s:%d under a mask that leaves it out", named(*running).c_str(), base_name(site.file).c_str(), site.line);
    const int warp = running->number / 32;
    hand_over(slots[warp][lane()], mine, size);
    wait(State::AtWarpBarrier, mask, site);
    const int size_of_warp = std::min<int>(32, int(threads.size()) - 32 * warp);
    if (from >= 0 && from < 32 && !(mask >> from & 1))
        fail("%s reads lane %d at %s:%d, which the mask leaves out", named(*running).c_str(), from, base_name(site.file).c_str(), site.line);
    if (from >= 0 && from < size_of_warp) hand_over(theirs, slots[warp][from], size);
    wait(State::AtWarpBarrier, mask, site);
}

unsigned ballot(unsigned mask, bool vote, Site site) {
    const int warp = running->number / 32;
    slots[warp][lane()][0] = vote;
    wait(State::AtWarpBarrier, mask, site);
    unsigned votes = 0;
    for (int l = 0; l < 32 && 32 * warp + l < int(threads.size()); ++l) votes |= unsigned(mask >> l & 1 && slots[warp][l][0]) << l;
    wait(State::AtWarpBarrier, mask, site);
    return votes;
}

void gather(const void* mine, size_t size, void* all, Site site) {
    const int warp = running->number / 32;
    if (threads.size() < 32 * size_t(warp + 1))
        fail("%s, at %s:%d, belongs to a warp with %d lanes; this operation needs all 32", named(*running).c_str(),
             base_name(site.file).c_str(), site.line,
             int(threads.size()) - 32 * warp);
    hand_over(slots[warp][lane()], mine, size);
    wait(State::AtWarpBarrier, 0xffffffffu, site);
    for (int l = 0; l < 32; ++l) hand_over(static_cast<char*>(all) + l * size, slots[warp][l], size);
    wait(State::AtWarpBarrier, 0xffffffffu, site);
}

void* shared_memory(int id, size_t size) {
    const fibers::Quiet quiet;
    std::vector<char>& memory = shared[id];
    if (memory.empty()) memory.assign(size, char(0xff));  // NaN, whatever the type
    return memory.data();
}

void* dynamic_shared_memory() { return dynamic_shared.data() + (16 - reinterpret_cast<uintptr_t>(dynamic_shared.data()) % 16) % 16; }

void atomic(void* address, size_t size, const void* where) {
    if (watch) watch->atomic(address, size, where);
}

void copy_async(void* to, const void* from, size_t size, size_t valid) {
    const fibers::Quiet quiet;
    running->groups.back().push_back({to, from, size, valid});
}

void commit_async(Site site) {
    if (skipped(site, "commit")) return;
    const fibers::Quiet quiet;
    running->groups.emplace_back();
}

void wait_async(int in_flight, Site site) {
    if (skipped(site, "wait")) return;
    auto& groups = running->groups;
    while (int(groups.size()) - 1 > in_flight) {
        for (const Copy& c : groups.front()) {
            if (watch) watch->asynchronous(c.to, c.from, c.size, c.valid);
            std::memcpy(c.to, c.from, c.valid);
            std::memset(static_cast<char*>(c.to) + c.valid, 0, c.size - c.valid);
        }
        const fibers::Quiet quiet;
        groups.erase(groups.begin());
    }
}

// --- what a launch calls ------------------------------------------------------------------------

void launch(const Launch& what, void (*kernel)(void**)) {
    current = &what, body = kernel, failed = false;
    std::fill(episodes, episodes + WARPS + 1, 0);
    fibers::is_host(scheduler_mark);
    randomness.seed(what.seed);
    now.block_size = what.block, now.grid_size = what.grid;
    if (watch) watch->start_launch(what);
    for (unsigned z = 0; z < what.grid.z && !failed; ++z)
        for (unsigned y = 0; y < what.grid.y && !failed; ++y)
            for (unsigned x = 0; x < what.grid.x && !failed; ++x) {
                now.block = {x, y, z};
                run_block();
            }
    fibers::joined();
    if (fibers::ONE_PER_THREAD) {  // not earlier: a thread of a later block would get the name of a finished one
        for (Fiber* fiber : idle) destroy(fiber);
        idle.clear();
    }
    if (watch) watch->end_launch();
    running = nullptr;
}

}  // namespace emulator

// --- what Python calls ----------------------------------------------------------------------------

extern void (*const kernels[])(void**);  // the file's instances, in the order of source.py

extern "C" {

struct Request {
    unsigned grid[3], block[3];
    unsigned long long shared_bytes, seed;
    void** arguments;
    const emulator::Region* regions;
    const char* skip_file;
    int kernel, schedule, skip_line, region_count;
};

static std::string message;
static std::vector<std::pair<emulator::Site, const char*>> sites;  // barriers, waits and commits that were met

// Runs a kernel; returns what went wrong, or nothing.
const char* emulator_launch(const Request* r) {
    message.clear(), sites.clear();
    emulator::Launch what{
        {r->grid[0], r->grid[1], r->grid[2]},
        {r->block[0], r->block[1], r->block[2]},
        size_t(r->shared_bytes),
        r->arguments,
        emulator::Schedule(r->schedule),
        r->seed,
        r->skip_file,
        r->skip_line,
        r->regions,
        r->region_count,
        [](const char* text) { message = text; },
        [](emulator::Site site, const char* kind) {
            for (auto& [known, k] : sites)
                if (known.file == site.file && known.line == site.line && k == kind) return;
            sites.emplace_back(site, kind);
        },
    };
    emulator::launch(what, kernels[r->kernel]);
    return message.empty() ? nullptr : message.c_str();
}

int emulator_sites() { return int(sites.size()); }
const char* emulator_site(int k, int* line, const char** kind) {
    *line = sites[k].first.line, *kind = sites[k].second;
    return sites[k].first.file;
}
}
