#include "context.h"

#include <cstdint>
#include <cstring>

#ifdef __x86_64__

// Keeps what a call must keep on the stack that is left, and takes it from the other.
asm(R"(
    .text
    .hidden bn_switch_stacks
    .globl bn_switch_stacks
    .type bn_switch_stacks, @function
bn_switch_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size bn_switch_stacks, . - bn_switch_stacks
)");

extern "C" void bn_switch_stacks(void** left, void* taken);

namespace emulator {

void Context::start(unsigned char* stack, size_t bytes, void (*run)()) {
    // As if `run` had been called from nowhere: six registers, its address, no return address.
    uintptr_t top = ((uintptr_t)stack + bytes) & ~(uintptr_t)15;
    void** frame = (void**)top - 8;
    std::memset(frame, 0, 8 * sizeof(void*));
    frame[6] = (void*)run;
    stack_pointer = frame;
}

void Context::switch_to(Context& to) { bn_switch_stacks(&stack_pointer, to.stack_pointer); }

}  // namespace emulator

#else

namespace emulator {

void Context::start(unsigned char* stack, size_t bytes, void (*run)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = bytes;
    context.uc_link = nullptr;
    makecontext(&context, run, 0);
}

void Context::switch_to(Context& to) { swapcontext(&context, &to.context); }

}  // namespace emulator

#endif
