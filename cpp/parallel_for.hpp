// Split a range of work over threads; the first exception is kept and rethrown in the caller.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace iosfast {

// Called by the waiting thread every so often with the number of units done; may throw to stop.
using Poll = std::function<void(std::size_t done)>;

// Threads to use: as asked, or one per core for 0.
inline unsigned thread_count(unsigned asked) {
    return asked ? asked : std::max(1U, std::thread::hardware_concurrency());
}

// Call body(unit, stop) for every unit in [0, units). `make_body` is called once per thread, so
// that a body can own scratch memory. A body that sees `stop` set may return early. The caller is
// one of the threads, unless it has to poll.
template <class MakeBody>
void parallel_for(std::size_t units, unsigned threads, MakeBody&& make_body,
                  const Poll& poll = {}) {
    if (units == 0) return;
    const auto count = static_cast<unsigned>(std::min<std::size_t>(units, thread_count(threads)));
    std::atomic<bool> stop{false};
    if (count == 1 && !poll) {
        auto body = make_body();  // NOLINT(misc-const-correctness): most change when called
        for (std::size_t unit = 0; unit < units; ++unit) body(unit, stop);
        return;
    }

    std::atomic<std::size_t> next{0};
    std::atomic<std::size_t> done{0};
    std::mutex mutex;
    std::condition_variable finished;
    unsigned running = count;
    std::exception_ptr first_error;

    auto keep_error = [&] {
        const std::scoped_lock lock(mutex);
        if (!first_error) first_error = std::current_exception();
        stop = true;
    };
    auto work = [&] {
        try {
            auto body = make_body();  // NOLINT(misc-const-correctness): most change when called
            for (std::size_t unit = next++; unit < units && !stop; unit = next++) {
                body(unit, stop);
                ++done;
            }
        } catch (...) {
            keep_error();
        }
        const std::scoped_lock lock(mutex);
        --running;
        finished.notify_all();
    };

    const unsigned others = poll ? count : count - 1;
    std::vector<std::thread> pool;
    pool.reserve(others);
    try {
        for (unsigned i = 0; i < others; ++i) pool.emplace_back(work);
    } catch (...) {  // the system gives no more threads: those that run do all the work
        const std::scoped_lock lock(mutex);
        running -= others - static_cast<unsigned>(pool.size());
        if (poll && pool.empty()) first_error = std::current_exception();
    }
    if (!poll) {
        work();
    } else {
        std::unique_lock lock(mutex);
        while (running > 0) {
            finished.wait_for(lock, std::chrono::milliseconds(50));
            if (stop || running == 0) continue;
            lock.unlock();
            try {
                poll(done);
            } catch (...) {
                keep_error();
            }
            lock.lock();
        }
    }
    for (auto& thread : pool) thread.join();
    if (first_error) std::rethrow_exception(first_error);
    if (poll) poll(done);
}

}  // namespace iosfast
