// A wrapper of shmpipe.h for C++17, to be copied and changed. An end is closed by close(). The destructor of an
// end that was not closed aborts the stream: it also runs while an exception leaves the block.
#ifndef SHMPIPE_HPP
#define SHMPIPE_HPP

#include <shmpipe.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace shm {

class error : public std::runtime_error {
public:
    explicit error(int code)
        : std::runtime_error(std::string(shmpipe_code_name(code)) + ": " + shmpipe_last_error()), code_(code)
    {
    }
    int code() const noexcept { return code_; }

private:
    int code_;
};

template <typename Number> Number checked(Number result)
{
    if (result < 0)
        throw error(static_cast<int>(result));
    return result;
}

class end {
public:
    explicit end(shmpipe_end *raw) : raw_(raw) {}

    static end open(const std::string &path, std::uint32_t role, const shmpipe_options *options = nullptr)
    {
        shmpipe_end *raw;
        checked(shmpipe_open(path.c_str(), role, options, &raw));
        return end(raw);
    }

    // For two threads.
    static std::pair<end, end> pair(const shmpipe_options *options = nullptr)
    {
        shmpipe_end *producer, *consumer;
        checked(shmpipe_pair(options, &producer, &consumer));
        return {end(producer), end(consumer)};
    }

    std::size_t write(const void *bytes, std::size_t len, std::int64_t timeout_ns = -1)
    {
        return static_cast<std::size_t>(checked(shmpipe_write(get(), bytes, len, timeout_ns)));
    }

    // 0 is the end of the stream.
    std::size_t read(void *bytes, std::size_t len, std::int64_t timeout_ns = -1)
    {
        return static_cast<std::size_t>(checked(shmpipe_read(get(), bytes, len, timeout_ns)));
    }

    void close(std::int64_t timeout_ns = -1) { checked(shmpipe_close(get(), timeout_ns)); }

    shmpipe_end *get() const noexcept { return raw_.get(); }

private:
    struct release {
        void operator()(shmpipe_end *raw) const noexcept
        {
            shmpipe_abort(raw); // has no effect on an end that was closed
            shmpipe_free(raw);
        }
    };
    std::unique_ptr<shmpipe_end, release> raw_;
};

} // namespace shm

#endif
