// Two threads and a ring. Then an exception, which the reader must not take for the end of the stream.
#include "shmpipe.hpp"

#include <iostream>
#include <string>
#include <thread>

int main()
try {
    auto [producer, consumer] = shm::end::pair();
    std::thread writer([end = std::move(producer)]() mutable {
        const std::string text = "from another thread";
        end.write(text.data(), text.size());
        end.close();
    });
    std::string text;
    char bytes[64];
    while (std::size_t len = consumer.read(bytes, sizeof bytes))
        text.append(bytes, len);
    writer.join();
    std::cout << text << '\n';

    auto [half, other] = shm::end::pair();
    try {
        shm::end broken = std::move(half);
        broken.write("half", 4);
        throw std::runtime_error("in the middle of a stream");
    } catch (const std::runtime_error &) {
    }
    other.read(bytes, sizeof bytes);
    try {
        other.read(bytes, sizeof bytes);
        return 1; // it looked whole
    } catch (const shm::error &error) {
        std::cout << error.what() << '\n';
        return error.code() == SHMPIPE_PRODUCER_ABORTED ? 0 : 1;
    }
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
