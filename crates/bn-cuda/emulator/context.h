// Going from one stack to another within a thread.
//
// ucontext does it everywhere, with two system calls each time, for signal masks that nobody
// changes here; on x86-64 twenty instructions do.
#pragma once
#include <cstddef>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulator {

class Context {
public:
    // Makes this context one that will call `run`, which never returns, on a stack.
    void start(unsigned char* stack, size_t bytes, void (*run)());

    // Leaves off here, and goes on where `to` left off.
    void switch_to(Context& to);

private:
#ifdef __x86_64__
    void* stack_pointer = nullptr;
#else
    ucontext_t context;
#endif
};

}  // namespace emulator
