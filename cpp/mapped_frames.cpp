#include "mapped_frames.hpp"

#ifdef __linux__

#include <fcntl.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

namespace iosfast {
namespace {

// Every so many frames one page is asked for, to tell whether the file is in the page cache.
constexpr std::size_t kSampledFrames = 8;

// Maps that the signal handler knows. It may only use atomics and system calls.
struct Guard {
    std::atomic<bool> taken{false};
    std::atomic<std::uintptr_t> begin{0}, end{0};
    std::atomic<std::uintptr_t> broken_from{UINTPTR_MAX};  // what lies before is as in the file
};
std::array<Guard, 64> guards;
struct sigaction previous{};  // NOLINT: set before the handler can run

void on_sigbus(int signal, siginfo_t* info, void* context) {
    const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
    const int kept = errno;
    for (auto& guard : guards) {
        const std::uintptr_t begin = guard.begin, end = guard.end;
        if (at < begin || at >= end) continue;
        const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
        const std::uintptr_t from = at - at % page;
        std::uintptr_t known = guard.broken_from;
        while (from < known && !guard.broken_from.compare_exchange_weak(known, from)) {
        }
        // Zeros from here on: the reader goes on, and then finds that the map is broken.
        const void* zeros =
            ::mmap(reinterpret_cast<void*>(from),  // NOLINT(performance-no-int-to-ptr)
                   end - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        errno = kept;
        if (zeros != MAP_FAILED) return;
    }
    if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
    } else {
        ::signal(signal, SIG_DFL);  // not ours: the access is tried again, and ends the process
    }
}

bool install_handler() {
    static std::mutex mutex;
    const std::scoped_lock lock(mutex);
    struct sigaction now{};
    if (::sigaction(SIGBUS, nullptr, &now) != 0) return false;
    if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_sigbus) return true;
    previous = now;
    struct sigaction ours{};
    ours.sa_sigaction = on_sigbus;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&ours.sa_mask);
    return ::sigaction(SIGBUS, &ours, nullptr) == 0;
}

Guard* take_guard(std::uintptr_t begin, std::uintptr_t end) {
    for (auto& guard : guards) {
        bool free = false;
        if (!guard.taken.compare_exchange_strong(free, true)) continue;
        guard.broken_from = UINTPTR_MAX;
        guard.end = end;
        guard.begin = begin;
        return &guard;
    }
    return nullptr;
}

}  // namespace

struct MappedFrames::Map {
    Map() = default;
    Map(const Map&) = delete;
    Map& operator=(const Map&) = delete;
    ~Map() {
        if (guard) {
            guard->begin = 0;
            guard->end = 0;
            guard->taken = false;
        }
        if (memory) ::munmap(memory, bytes);
        if (file >= 0) ::close(file);
    }

    // The pages that hold some frames.
    std::pair<char*, std::size_t> pages(std::size_t first, std::size_t last) const {
        const std::size_t begin = lead + first * stride;
        const std::size_t end = lead + (last - 1) * stride + frame_bytes;
        const std::size_t from = begin - begin % page;
        return {memory + from, end - from};
    }

    std::string path;
    int file = -1;
    char* memory = nullptr;
    std::size_t bytes = 0, page = 4096, lead = 0;  // lead: from the map's begin to the pixels
    std::uint64_t offset = 0, stride = 0;
    std::size_t frame_bytes = 0, first_frame = 0;
    Guard* guard = nullptr;
};

std::unique_ptr<MappedFrames> MappedFrames::open(const std::string& path, std::size_t first_frame,
                                                 std::uint64_t offset, std::uint64_t stride,
                                                 std::size_t frames, std::size_t height,
                                                 std::size_t width, PixelType type, bool swapped) {
    const std::size_t pixel = pixel_bytes(type);
    if (frames == 0 || !install_handler()) return nullptr;
    auto map = std::make_unique<Map>();
    map->path = path;
    map->page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    map->offset = offset;
    map->stride = stride;
    map->frame_bytes = height * width * pixel;
    map->first_frame = first_frame;
    map->lead = offset % map->page;
    map->bytes = map->lead + (frames - 1) * stride + map->frame_bytes;
    map->file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct ::stat info{};
    if (map->file < 0 || ::fstat(map->file, &info) != 0 || !S_ISREG(info.st_mode) ||
        static_cast<std::uint64_t>(info.st_size) < offset - map->lead + map->bytes)
        return nullptr;
    void* memory = ::mmap(nullptr, map->bytes, PROT_READ, MAP_SHARED, map->file,
                          static_cast<::off_t>(offset - map->lead));
    if (memory == MAP_FAILED) return nullptr;
    map->memory = static_cast<char*>(memory);
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    map->guard = take_guard(begin, begin + map->bytes);
    if (!map->guard) return nullptr;
    for (std::size_t frame = 0; frame < frames; frame += kSampledFrames) {
        const auto [at, length] = map->pages(frame, frame + 1);
        unsigned char resident = 0;
        if (::mincore(at, std::min(length, map->page), &resident) != 0 || (resident & 1U) == 0)
            return nullptr;
    }
    return std::unique_ptr<MappedFrames>(
        new MappedFrames(std::move(map), frames, height, width, type, swapped));
}

MappedFrames::MappedFrames(std::unique_ptr<Map> map, std::size_t frames, std::size_t height,
                           std::size_t width, PixelType type, bool swapped)
    : FrameSource(frames, height, width, type, swapped), map_(std::move(map)) {}

MappedFrames::~MappedFrames() = default;

std::unique_ptr<FrameCursor> MappedFrames::cursor() const {
    return std::make_unique<PointerCursor>(frame(0), map_->stride);
}

const std::byte* MappedFrames::frame(std::size_t number) const {
    return reinterpret_cast<const std::byte*>(map_->memory) + map_->lead + number * map_->stride;
}

void MappedFrames::prepare(std::size_t first, std::size_t last) const {
    const auto [at, length] = map_->pages(first, last);
    ::madvise(at, length, MADV_POPULATE_READ);  // older systems refuse; then each page faults
}

void MappedFrames::release(std::size_t first, std::size_t last) const {
    check(first, last);
    const auto [at, length] = map_->pages(first, last);
    ::madvise(at, length, MADV_DONTNEED);  // so that a long recording does not count as memory
}

void MappedFrames::check(std::size_t first, std::size_t last) const {
    // Behind the end, the last page of a file reads as zeros without a signal: the size tells.
    struct ::stat info{};
    const bool known = ::fstat(map_->file, &info) == 0;
    const auto size = static_cast<std::uint64_t>(known ? info.st_size : 0);
    const auto end_of = [&](std::size_t frame) {
        return map_->offset + frame * map_->stride + map_->frame_bytes;
    };
    const auto is_lost = [&](std::size_t frame) {
        const auto [page, bytes] = map_->pages(frame, frame + 1);
        const auto end = reinterpret_cast<std::uintptr_t>(page) + bytes;
        return end_of(frame) > size || end > map_->guard->broken_from;
    };
    if (is_lost(last - 1)) {
        std::size_t frame = first;
        while (frame < last - 1 && !is_lost(frame)) ++frame;
        const std::string what =
            end_of(frame) <= size ? "cannot be read: the system lost pages of the file"
                                  : "the file ends at byte " + std::to_string(size) +
                                        ", within this frame; it has become shorter since it was "
                                        "opened";
        throw ReadFailure(what, map_->path, static_cast<std::int64_t>(map_->first_frame + frame));
    }
}

}  // namespace iosfast

#else  // other systems read instead

namespace iosfast {

struct MappedFrames::Map {};

std::unique_ptr<MappedFrames> MappedFrames::open(const std::string& /*path*/,
                                                 std::size_t /*first_frame*/,
                                                 std::uint64_t /*offset*/, std::uint64_t /*stride*/,
                                                 std::size_t /*frames*/, std::size_t /*height*/,
                                                 std::size_t /*width*/, PixelType /*type*/,
                                                 bool /*swapped*/) {
    return nullptr;
}
MappedFrames::~MappedFrames() = default;
std::unique_ptr<FrameCursor> MappedFrames::cursor() const {
    return nullptr;
}
const std::byte* MappedFrames::frame(std::size_t /*number*/) const {
    return nullptr;
}
void MappedFrames::prepare(std::size_t /*first*/, std::size_t /*last*/) const {}
void MappedFrames::release(std::size_t /*first*/, std::size_t /*last*/) const {}
void MappedFrames::check(std::size_t /*first*/, std::size_t /*last*/) const {}

}  // namespace iosfast

#endif
