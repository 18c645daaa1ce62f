// Tells the sanitizers about fibers, whose stacks they cannot find by themselves.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef SANITIZED_THREAD
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
#endif

namespace fibers {

struct Mark {
    void* fake_stack = nullptr;  // AddressSanitizer's
    const void* bottom = nullptr;
    size_t size = 0;
    void* thread = nullptr;  // ThreadSanitizer's
};

#ifdef SANITIZED_THREAD
// ThreadSanitizer finds races between threads, so here each CUDA thread is a thread with its own stack.
constexpr bool ONE_PER_THREAD = true;
inline Mark* host = nullptr;

inline void created(Mark& m) { m.thread = __tsan_create_fiber(0); }
inline void destroyed(Mark& m) { __tsan_destroy_fiber(m.thread); }
// The host's writes happen before a thread starts; a thread's writes are not ordered before the host or the next thread.
inline void leave(Mark&, Mark& to, bool) {
    if (!to.thread) to.thread = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to.thread, &to == host ? __tsan_switch_to_fiber_no_sync : 0);
}
inline void arrive(Mark&) {}
inline void is_host(Mark& m) { host = &m, m.thread = __tsan_get_current_fiber(); }
// Only a barrier orders threads. Two objects alternate: a thread that leaves late must not be ordered after the writes of one that is ahead.
inline char objects[33][2];
struct Quiet {  // the emulator's work for a thread, which is not watched
    Quiet() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__), AnnotateIgnoreWritesBegin(__FILE__, __LINE__); }
    ~Quiet() { AnnotateIgnoreWritesEnd(__FILE__, __LINE__), AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};
inline void at_barrier(int which, int episode) { __tsan_release(&objects[which][episode % 2]); }
inline void after_barrier(int which, int episode) { __tsan_acquire(&objects[which][episode % 2]); }
// All that the threads did happens before the end of the launch, though not before the end of their block.
inline char end;
inline void finished() { __tsan_release(&end); }
inline void joined() { __tsan_acquire(&end); }
#else
constexpr bool ONE_PER_THREAD = false;
inline void created(Mark&) {}
inline void destroyed(Mark&) {}
inline void is_host(Mark&) {}
struct Quiet {
    ~Quiet() {}
};
inline void at_barrier(int, int) {}
inline void after_barrier(int, int) {}
inline void finished() {}
inline void joined() {}
#ifdef __SANITIZE_ADDRESS__
inline Mark* left = nullptr;
inline void leave(Mark& from, Mark& to, bool forever) {
    left = &from;
    __sanitizer_start_switch_fiber(forever ? nullptr : &from.fake_stack, to.bottom, to.size);
}
inline void arrive(Mark& me) {
    const void* bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(me.fake_stack, &bottom, &size);
    if (left && !left->bottom) left->bottom = bottom, left->size = size;  // the host's own stack, learnt on the first switch
}
#else
inline void leave(Mark&, Mark&, bool) {}
inline void arrive(Mark&) {}
#endif
#endif

}  // namespace fibers
