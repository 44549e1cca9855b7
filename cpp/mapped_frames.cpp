#include "mapped_frames.hpp"

#ifdef __linux__

#include <fcntl.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

namespace iosfast {
namespace {

// Every so many frames one page is asked for, to tell whether the file is in the page cache.
constexpr std::size_t kSampledFrames = 8;

// Frames that lie so near to each other, in bytes, are brought in at once with what is between.
constexpr std::uint64_t kNeighbours = std::uint64_t{64} << 10U;

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

    // Calls visit(begin, bytes) for the pages that hold some frames, neighbours at once.
    template <class Visit>
    void pages(std::size_t first, std::size_t last, Visit visit) const {
        for (std::size_t frame = first; frame < last;) {
            const std::uint64_t from = (offsets[frame] - begin) / page * page;
            std::uint64_t to = offsets[frame] - begin + frame_bytes;
            for (++frame; frame < last; ++frame) {
                const std::uint64_t next = offsets[frame] - begin;
                if (next < from || next > to + kNeighbours) break;
                to = std::max<std::uint64_t>(to, next + frame_bytes);
            }
            visit(memory + from, static_cast<std::size_t>(to - from));
        }
    }

    std::string path;
    int file = -1;
    char* memory = nullptr;
    std::uint64_t begin = 0;  // of the map, in the file
    std::size_t bytes = 0, page = 4096;
    std::vector<std::uint64_t> offsets;  // of the frames, in the file
    std::size_t frame_bytes = 0, first_frame = 0;
    Guard* guard = nullptr;
};

std::unique_ptr<MappedFrames> MappedFrames::open(const std::string& path, std::size_t first_frame,
                                                 std::vector<std::uint64_t> offsets,
                                                 std::size_t height, std::size_t width,
                                                 PixelType type, bool swapped) {
    const std::size_t frames = offsets.size();
    if (frames == 0 || !install_handler()) return nullptr;
    auto map = std::make_unique<Map>();
    map->path = path;
    map->page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    map->offsets = std::move(offsets);
    map->frame_bytes = height * width * pixel_bytes(type);
    map->first_frame = first_frame;
    const auto [least, most] = std::minmax_element(map->offsets.begin(), map->offsets.end());
    const std::uint64_t end = *most + map->frame_bytes;
    map->begin = *least / map->page * map->page;
    map->bytes = static_cast<std::size_t>(end - map->begin);
    map->file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct ::stat info{};
    if (map->file < 0 || ::fstat(map->file, &info) != 0 || !S_ISREG(info.st_mode) ||
        static_cast<std::uint64_t>(info.st_size) < end)
        return nullptr;
    void* memory = ::mmap(nullptr, map->bytes, PROT_READ, MAP_SHARED, map->file,
                          static_cast<::off_t>(map->begin));
    if (memory == MAP_FAILED) return nullptr;
    map->memory = static_cast<char*>(memory);
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    map->guard = take_guard(begin, begin + map->bytes);
    if (!map->guard) return nullptr;
    for (std::size_t frame = 0; frame < frames; frame += kSampledFrames) {
        char* at = map->memory + (map->offsets[frame] - map->begin) / map->page * map->page;
        unsigned char resident = 0;
        if (::mincore(at, 1, &resident) != 0 || (resident & 1U) == 0) return nullptr;
    }
    return std::unique_ptr<MappedFrames>(
        new MappedFrames(std::move(map), frames, height, width, type, swapped));
}

MappedFrames::MappedFrames(std::unique_ptr<Map> map, std::size_t frames, std::size_t height,
                           std::size_t width, PixelType type, bool swapped)
    : FrameSource(frames, height, width, type, swapped), map_(std::move(map)) {}

MappedFrames::~MappedFrames() = default;

const std::byte* MappedFrames::frame(std::size_t number) const {
    return reinterpret_cast<const std::byte*>(map_->memory) + (map_->offsets[number] - map_->begin);
}

void MappedFrames::prepare(std::size_t first, std::size_t last) const {
    map_->pages(first, last, [](char* at, std::size_t bytes) {
        ::madvise(at, bytes, MADV_POPULATE_READ);  // older systems refuse; then each page faults
    });
}

void MappedFrames::release(std::size_t first, std::size_t last) const {
    check(first, last);
    map_->pages(first, last, [](char* at, std::size_t bytes) {
        ::madvise(at, bytes, MADV_DONTNEED);  // so that a long recording does not count as memory
    });
}

// Throws ReadFailure if the file has become shorter than some frames need: then what was read is
// not what the file held.
void MappedFrames::check(std::size_t first, std::size_t last) const {
    // Behind the end, the last page of a file reads as zeros without a signal: the size tells.
    struct ::stat info{};
    const bool known = ::fstat(map_->file, &info) == 0;
    const auto size = static_cast<std::uint64_t>(known ? info.st_size : 0);
    for (std::size_t number = first; number < last; ++number) {
        const std::uint64_t end = map_->offsets[number] + map_->frame_bytes;
        const auto address = reinterpret_cast<std::uintptr_t>(frame(number)) + map_->frame_bytes;
        if (end <= size && address <= map_->guard->broken_from) continue;
        const std::string what =
            end <= size ? "cannot be read: the system lost pages of the file"
                        : "the file ends at byte " + std::to_string(size) +
                              ", within this frame; it has become shorter since it was opened";
        throw ReadFailure(what, map_->path, static_cast<std::int64_t>(map_->first_frame + number));
    }
}

}  // namespace iosfast

#else  // other systems read instead

namespace iosfast {

struct MappedFrames::Map {};

std::unique_ptr<MappedFrames> MappedFrames::open(const std::string& /*path*/,
                                                 std::size_t /*first_frame*/,
                                                 std::vector<std::uint64_t> /*offsets*/,
                                                 std::size_t /*height*/, std::size_t /*width*/,
                                                 PixelType /*type*/, bool /*swapped*/) {
    return nullptr;
}
MappedFrames::~MappedFrames() = default;
const std::byte* MappedFrames::frame(std::size_t /*number*/) const {
    return nullptr;
}
void MappedFrames::prepare(std::size_t /*first*/, std::size_t /*last*/) const {}
void MappedFrames::release(std::size_t /*first*/, std::size_t /*last*/) const {}
void MappedFrames::check(std::size_t /*first*/, std::size_t /*last*/) const {}

}  // namespace iosfast

#endif

namespace iosfast {
namespace {

class MapCursor final : public FrameCursor {
  public:
    explicit MapCursor(const MappedFrames& frames) : frames_(frames) {}
    const std::byte* fetch(std::size_t frame, std::size_t offset, std::size_t /*bytes*/,
                           std::byte* /*scratch*/) override {
        return frames_.frame(frame) + offset;
    }

  private:
    const MappedFrames& frames_;
};

}  // namespace

std::unique_ptr<FrameCursor> MappedFrames::cursor() const {
    return std::make_unique<MapCursor>(*this);
}

}  // namespace iosfast
