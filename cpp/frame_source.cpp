#include "frame_source.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <mutex>
#include <system_error>
#include <utility>

#include "mapped_frames.hpp"
#include "parallel_for.hpp"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace iosfast {
namespace {

// Sources with more files than this open each file as it is needed, to spare descriptors.
constexpr std::size_t kMaxOpenFiles = 64;

// One open file, read at given positions; safe to share between threads.
class File {
  public:
    explicit File(const std::string& path);
    ~File();
    File(File&& other) noexcept : handle_(std::exchange(other.handle_, kNone)) {}
    File& operator=(File&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    // Bytes read; fewer than asked only at the end of the file.
    std::size_t read(std::uint64_t offset, std::size_t bytes, std::byte* out,
                     const std::string& path, std::int64_t frame) const;
    FileFacts facts(const std::string& path) const;

  private:
#ifdef _WIN32
    using Handle = void*;
    static inline const Handle kNone = INVALID_HANDLE_VALUE;
#else
    using Handle = int;
    static constexpr Handle kNone = -1;
#endif
    Handle handle_ = kNone;
};

#ifdef _WIN32

std::string last_error() {
    return std::system_category().message(static_cast<int>(GetLastError()));
}

File::File(const std::string& path) {
    const int length = MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, nullptr, 0);
    std::wstring wide(static_cast<std::size_t>(length), L'\0');
    MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, wide.data(), length);
    handle_ = CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr,
                          OPEN_EXISTING, FILE_FLAG_SEQUENTIAL_SCAN, nullptr);
    if (handle_ == kNone) throw ReadFailure("cannot be opened: " + last_error(), path);
}

File::~File() {
    if (handle_ != kNone) CloseHandle(handle_);
}

std::size_t File::read(std::uint64_t offset, std::size_t bytes, std::byte* out,
                       const std::string& path, std::int64_t frame) const {
    std::size_t got = 0;
    while (got < bytes) {
        OVERLAPPED at{};
        at.Offset = static_cast<DWORD>(offset + got);
        at.OffsetHigh = static_cast<DWORD>((offset + got) >> 32);
        DWORD now = 0;
        const auto want = static_cast<DWORD>(std::min<std::size_t>(bytes - got, 1U << 30));
        if (!ReadFile(handle_, out + got, want, &now, &at)) {
            if (GetLastError() == ERROR_HANDLE_EOF) break;
            throw ReadFailure("cannot be read: " + last_error(), path, frame);
        }
        if (now == 0) break;
        got += now;
    }
    return got;
}

FileFacts File::facts(const std::string& path) const {
    LARGE_INTEGER size;
    FILETIME time;
    if (!GetFileSizeEx(handle_, &size) || !GetFileTime(handle_, nullptr, nullptr, &time))
        throw ReadFailure("cannot be examined: " + last_error(), path);
    const auto ticks = (static_cast<std::int64_t>(time.dwHighDateTime) << 32) | time.dwLowDateTime;
    return {size.QuadPart, (ticks - 116444736000000000LL) * 100, true};
}

#else

std::string last_error() {
    return std::generic_category().message(errno);
}

File::File(const std::string& path) {
    do {
        // Does not wait for the writer of a pipe, which then cannot be read at a place.
        handle_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (handle_ < 0 && errno == EINTR);
    if (handle_ < 0) throw ReadFailure("cannot be opened: " + last_error(), path);
}

File::~File() {
    if (handle_ != kNone) ::close(handle_);
}

std::size_t File::read(std::uint64_t offset, std::size_t bytes, std::byte* out,
                       const std::string& path, std::int64_t frame) const {
    std::size_t got = 0;
    while (got < bytes) {
        const ::ssize_t now =
            ::pread(handle_, out + got, bytes - got, static_cast<::off_t>(offset + got));
        if (now < 0) {
            if (errno == EINTR) continue;
            throw ReadFailure("cannot be read: " + last_error(), path, frame);
        }
        if (now == 0) break;
        got += static_cast<std::size_t>(now);
    }
    return got;
}

FileFacts File::facts(const std::string& path) const {
    struct ::stat info{};
    if (::fstat(handle_, &info) != 0)
        throw ReadFailure("cannot be examined: " + last_error(), path);
#ifdef __APPLE__
    const auto& time = info.st_mtimespec;
#else
    const auto& time = info.st_mtim;
#endif
    return {info.st_size, static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec,
            true};
}

#endif

}  // namespace

void swap_bytes(const std::byte* in, std::byte* out, std::size_t n, PixelType type) {
    visit_type(type, [&](auto pixel) {
        using Word = WordOf<decltype(pixel)>;
        for (std::size_t i = 0; i < n; ++i) {
            const Word value = turned(load<Word>(in, i));
            std::memcpy(out + i * sizeof(Word), &value, sizeof(Word));
        }
    });
}

std::unique_ptr<FrameCursor> MemoryFrames::cursor() const {
    return std::make_unique<PointerCursor>(data_, frame_bytes());
}

// Descriptors shared by all cursors, so that the system sees one sequential reader and reads ahead.
struct FileFrames::Files {
    std::mutex mutex;
    std::vector<std::unique_ptr<File>> open;
};

class FileCursor final : public FrameCursor {
  public:
    explicit FileCursor(const FileFrames& source) : source_(source) {}

    const std::byte* fetch(std::size_t frame, std::size_t offset, std::size_t bytes,
                           std::byte* scratch) override {
        const auto& first = source_.first_frame_;
        if (frame < begin_ || frame >= end_) {
            const std::size_t index = source_.segment_of(frame);
            segment_ = &source_.segments_[index];
            begin_ = first[index];
            end_ = begin_ + segment_->frames;
            open(frame);
        }
        const std::uint64_t at = segment_->offset + (frame - begin_) * segment_->stride;
        const auto number = static_cast<std::int64_t>(frame);
        if (source_.row_bytes_ == 0) {
            read(at + offset, bytes, scratch, number);
            return scratch;
        }
        // Everything from the first to the last pixel, and then the rows out of it.
        const std::size_t row = source_.width * pixel_bytes(source_.type);
        const auto stored = [&](std::size_t i) { return i / row * source_.row_bytes_ + i % row; };
        const std::size_t begin = stored(offset), end = stored(offset + bytes - 1) + 1;
        padded_.resize(end - begin);
        read(at + begin, end - begin, padded_.data(), number);
        for (std::size_t i = offset; i < offset + bytes;) {
            const std::size_t n = std::min(row - i % row, offset + bytes - i);
            std::memcpy(scratch + (i - offset), padded_.data() + (stored(i) - begin), n);
            i += n;
        }
        return scratch;
    }

  private:
    void read(std::uint64_t at, std::size_t bytes, std::byte* out, std::int64_t number) const {
        const std::string& path = source_.paths_[segment_->file];
        const std::size_t got = file_->read(at, bytes, out, path, number);
        if (got < bytes) {
            throw ReadFailure("the file ends at byte " + std::to_string(at + got) +
                                  ", within this frame; it has become shorter since it was opened",
                              path, number);
        }
    }

    void open(std::size_t frame) {
        const std::size_t index = segment_->file;
        try {
            if (source_.paths_.size() > kMaxOpenFiles) {
                own_ = std::make_unique<File>(source_.paths_[index]);
                file_ = own_.get();
            } else {
                const std::scoped_lock lock(source_.files_->mutex);
                auto& shared = source_.files_->open[index];
                if (!shared) shared = std::make_unique<File>(source_.paths_[index]);
                file_ = shared.get();
            }
        } catch (const ReadFailure& failure) {
            begin_ = end_ = 0;
            throw ReadFailure(failure.what(), failure.path, static_cast<std::int64_t>(frame));
        }
    }

    const FileFrames& source_;
    const Segment* segment_ = nullptr;
    std::size_t begin_ = 0, end_ = 0;  // frames of the segment
    std::unique_ptr<File> own_;
    std::vector<std::byte> padded_;
    const File* file_ = nullptr;
};

FileFrames::FileFrames(std::vector<std::string> paths, std::vector<Segment> segments,
                       std::size_t height, std::size_t width, PixelType type, bool swapped,
                       std::size_t row_bytes)
    : FrameSource(
          [&] {
              std::size_t total = 0;
              for (const auto& segment : segments) total += segment.frames;
              return total;
          }(),
          height, width, type, swapped),
      paths_(std::move(paths)),
      segments_(std::move(segments)),
      row_bytes_(row_bytes == width * pixel_bytes(type) ? 0 : row_bytes),
      files_(std::make_unique<Files>()) {
    if (height == 0 || width == 0 || height > std::numeric_limits<std::uint32_t>::max() / width)
        throw std::invalid_argument("height and width must be at least 1 and fit 32 bits together");
    constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max();
    if (row_bytes_ != 0 &&
        (row_bytes_ < width * pixel_bytes(type) || row_bytes_ > limit / 4 / height))
        throw std::invalid_argument("row_bytes must hold a row, and lead to no place out of reach");
    first_frame_.reserve(segments_.size());
    std::size_t first = 0;
    for (const auto& s : segments_) {
        const bool too_far = s.offset > limit / 2 || frame_bytes() > limit / 4 ||
                             (s.frames > 1 && s.stride > limit / 4 / s.frames);
        if (s.file >= paths_.size() || s.frames == 0 || too_far)
            throw std::invalid_argument("a segment names no file, holds no frame, or lies too far");
        first_frame_.push_back(first);
        first += s.frames;
    }
    files_->open.resize(paths_.size() > kMaxOpenFiles ? 0 : paths_.size());
}

FileFrames::~FileFrames() = default;

std::unique_ptr<FrameCursor> FileFrames::cursor() const {
    return std::make_unique<FileCursor>(*this);
}

std::size_t FileFrames::segment_of(std::size_t frame) const {
    const auto after = std::upper_bound(first_frame_.begin(), first_frame_.end(), frame);
    return static_cast<std::size_t>(after - first_frame_.begin()) - 1;
}

// Fetches frames of many segments, each through a map as long as it is needed.
class SegmentCursor final : public FrameCursor {
  public:
    SegmentCursor(const FileFrames& files, std::size_t origin, std::size_t last)
        : files_(files), origin_(origin), last_(last), reader_(files) {}

    const std::byte* fetch(std::size_t frame, std::size_t offset, std::size_t bytes,
                           std::byte* scratch) override {
        const std::size_t wanted = origin_ + frame;
        Window* window = nullptr;
        for (auto& each : windows_) {
            if (wanted >= each.first && wanted < each.last) window = &each;
        }
        if (window == nullptr) {
            window = &windows_[next_];
            next_ = (next_ + 1) % windows_.size();
            close(*window);
            open(*window, wanted);
        }
        if (!window->map) return reader_.fetch(wanted, offset, bytes, scratch);
        return window->map->frame(wanted - window->first) + offset;
    }

    void finish() override {
        for (auto& window : windows_) close(window);
    }

  private:
    // Frames of one segment; they are read instead where there is no map.
    struct Window {
        std::size_t first = 0, last = 0;
        std::unique_ptr<MappedFrames> map;
    };

    void open(Window& window, std::size_t frame) {
        constexpr std::uint64_t most_bytes = std::uint64_t{16} << 20U;
        const std::size_t index = files_.segment_of(frame);
        const Segment& segment = files_.segments_[index];
        const std::size_t skipped = frame - files_.first_frame_[index];
        const auto frame_bytes =
            std::max<std::uint64_t>({segment.stride, std::uint64_t{files_.frame_bytes()}, 1});
        const auto count = std::min<std::size_t>(
            {segment.frames - skipped, last_ - frame,
             static_cast<std::size_t>(std::max<std::uint64_t>(most_bytes / frame_bytes, 1))});
        window.map = MappedFrames::open(
            files_.paths_[segment.file], frame, segment.offset + skipped * segment.stride,
            segment.stride, count, files_.height, files_.width, files_.type, files_.swapped);
        window.first = frame;
        window.last = frame + count;
        if (window.map) window.map->prepare(0, count);
    }

    static void close(Window& window) {
        const auto map = std::move(window.map);
        const std::size_t count = window.last - window.first;
        window.first = window.last = 0;
        if (map) map->check(0, count);
    }

    const FileFrames& files_;
    const std::size_t origin_, last_;  // of all that is to be fetched
    FileCursor reader_;
    std::array<Window, kFramesAtOnce + 1> windows_;
    std::size_t next_ = 0;
};

// Frames [origin, last) of many segments in files that are in the page cache.
class MappedSegments final : public FrameSource {
  public:
    MappedSegments(const FileFrames& files, std::size_t origin, std::size_t last)
        : FrameSource(last - origin, files.height, files.width, files.type, files.swapped),
          files_(files),
          origin_(origin) {}
    std::unique_ptr<FrameCursor> cursor() const override {
        return std::make_unique<SegmentCursor>(files_, origin_, origin_ + frames);
    }
    bool frame_is_unit() const override { return files_.frame_is_unit(); }
    std::size_t frames_at_once() const override { return kFramesAtOnce; }

  private:
    const FileFrames& files_;
    const std::size_t origin_;
};

std::unique_ptr<FrameSource> FileFrames::mapped(std::size_t first, std::size_t last) const {
    if (row_bytes_ != 0 || last - first < 2) return nullptr;
    const auto map = [&](std::size_t frame, std::size_t most) {
        const std::size_t index = segment_of(frame);
        const Segment& segment = segments_[index];
        const std::size_t skipped = frame - first_frame_[index];
        return MappedFrames::open(
            paths_[segment.file], frame, segment.offset + skipped * segment.stride, segment.stride,
            std::min(most, segment.frames - skipped), height, width, type, swapped);
    };
    if (segment_of(first) == segment_of(last - 1)) return map(first, last - first);
    for (const std::size_t frame : {first, first + (last - first) / 2, last - 1}) {
        if (!map(frame, 1)) return nullptr;
    }
    return std::make_unique<MappedSegments>(*this, first, last);
}

bool FileFrames::frame_is_unit() const {
    return paths_.size() > kMaxOpenFiles;
}

void copy_frames(const FrameSource& source, std::size_t start, std::size_t stop, std::byte* out) {
    const auto cursor = source.cursor();
    const std::size_t bytes = source.frame_bytes();
    for (std::size_t frame = start; frame < stop; ++frame) {
        std::byte* to = out + (frame - start) * bytes;
        const std::byte* from = cursor->fetch(frame, 0, bytes, to);
        if (from != to) std::memcpy(to, from, bytes);
        if (source.swapped) swap_bytes(to, to, source.pixels(), source.type);
    }
}

std::size_t read_records(const std::string& path, std::uint64_t offset, std::uint64_t stride,
                         std::size_t count, std::size_t bytes, std::byte* out) {
    constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max();
    if (offset > limit / 2 || stride > limit / 2 / std::max<std::size_t>(count, 1))
        throw std::invalid_argument("offset and stride lead beyond any file");
    const File file(path);
    for (std::size_t i = 0; i < count; ++i) {
        if (file.read(offset + i * stride, bytes, out + i * bytes, path, -1) < bytes) return i;
    }
    return count;
}

std::vector<FileFacts> probe_files(const std::vector<std::string>& paths,
                                   const std::vector<HeaderPart>& parts, unsigned threads,
                                   const std::function<void(std::size_t)>& poll) {
    std::vector<FileFacts> facts(paths.size());
    std::size_t longest = 0;
    for (const auto& part : parts) longest = std::max(longest, part.bytes.size());
    constexpr std::size_t chunk = 256;
    const std::size_t units = (paths.size() + chunk - 1) / chunk;
    parallel_for(
        units, threads,
        [&] {
            return [&, found = std::vector<std::byte>(longest)](
                       std::size_t unit, const std::atomic<bool>& stop) mutable {
                const std::size_t end = std::min(paths.size(), (unit + 1) * chunk);
                for (std::size_t i = unit * chunk; i < end && !stop; ++i) {
                    try {
                        const File file(paths[i]);
                        facts[i] = file.facts(paths[i]);
                        for (const auto& part : parts) {
                            const std::size_t got =
                                file.read(part.offset, part.bytes.size(), found.data(), paths[i],
                                          static_cast<std::int64_t>(i));
                            bool same = got == part.bytes.size();
                            for (std::size_t k = 0; same && k < got; ++k) {
                                const auto byte = std::to_integer<std::uint8_t>(found[k]);
                                same = ((byte ^ part.bytes[k]) & part.mask[k]) == 0;
                            }
                            facts[i].matches = facts[i].matches && same;
                        }
                    } catch (const ReadFailure& failure) {
                        throw ReadFailure(failure.what(), failure.path,
                                          static_cast<std::int64_t>(i));
                    }
                }
            };
        },
        poll);
    return facts;
}

}  // namespace iosfast
