// Queues of C++ behind one interface, for src/contenders/cpp.rs. A queue holds 4 MiB of
// payload. Its elements have the size of a block, which the compiler knows. A call waits by
// polling with the processor's pause instruction, where the queue has no wait of its own.

#include <cstddef>
#include <new>

#include <atomic_queue/atomic_queue.h>
#include <boost/lockfree/spsc_queue.hpp>
#include <readerwriterqueue/readerwriterqueue.h>

namespace {

constexpr std::size_t CAPACITY = std::size_t{4} << 20;

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

template <std::size_t Size>
struct Block {
    unsigned char bytes[Size];
};

struct Operations {
    std::size_t size;
    void (*make)(void* at);
    void (*push)(void* queue, const unsigned char* block, std::size_t size);
    void (*pop)(void* queue, unsigned char* block, std::size_t size);
};

// A queue of bytes, which takes and gives as many as there are.
struct Boost {
    boost::lockfree::spsc_queue<unsigned char, boost::lockfree::capacity<CAPACITY>> queue;

    void push(const unsigned char* block, std::size_t size) {
        while ((size -= advance(block, queue.push(block, size))) != 0) pause();
    }
    void pop(unsigned char* block, std::size_t size) {
        while ((size -= advance(block, queue.pop(block, size))) != 0) pause();
    }

private:
    template <class Byte>
    static std::size_t advance(Byte*& at, std::size_t done) {
        at += done;
        return done;
    }
};

// Its fastest form for one producer and one consumer: both take their place, and wait there.
template <std::size_t Size>
struct AtomicQueue {
    atomic_queue::AtomicQueue2<Block<Size>, CAPACITY / Size, true, true, false, true> queue;

    void push(const unsigned char* block, std::size_t) {
        queue.push(*reinterpret_cast<const Block<Size>*>(block));
    }
    void pop(unsigned char* block, std::size_t) {
        *reinterpret_cast<Block<Size>*>(block) = queue.pop();
    }
};

// Its blocks are in the heap.
template <std::size_t Size>
struct ReaderWriterQueue {
    moodycamel::ReaderWriterQueue<Block<Size>> queue{CAPACITY / Size};

    void push(const unsigned char* block, std::size_t) {
        while (!queue.try_enqueue(*reinterpret_cast<const Block<Size>*>(block))) pause();
    }
    void pop(unsigned char* block, std::size_t) {
        while (!queue.try_dequeue(*reinterpret_cast<Block<Size>*>(block))) pause();
    }
};

template <class Queue>
const Operations* operations() {
    static const Operations all{
        sizeof(Queue),
        [](void* at) { new (at) Queue; },
        [](void* queue, const unsigned char* block, std::size_t size) {
            static_cast<Queue*>(queue)->push(block, size);
        },
        [](void* queue, unsigned char* block, std::size_t size) {
            static_cast<Queue*>(queue)->pop(block, size);
        },
    };
    return &all;
}

template <template <std::size_t> class Queue>
const Operations* of_size(std::size_t block) {
    switch (block) {
        case 8: return operations<Queue<8>>();
        case 64: return operations<Queue<64>>();
        case 256: return operations<Queue<256>>();
        case 1 << 10: return operations<Queue<1 << 10>>();
        case 4 << 10: return operations<Queue<4 << 10>>();
        case 64 << 10: return operations<Queue<64 << 10>>();
        case 1 << 20: return operations<Queue<1 << 20>>();
        default: return nullptr;
    }
}

}  // namespace

extern "C" {

// Null if there is no queue of such blocks.
const Operations* peers_boost(std::size_t) { return operations<Boost>(); }
const Operations* peers_atomic_queue(std::size_t block) { return of_size<AtomicQueue>(block); }
const Operations* peers_reader_writer_queue(std::size_t block) {
    return of_size<ReaderWriterQueue>(block);
}
}
