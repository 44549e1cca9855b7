// One open file, read at given positions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace iosfast {

struct FileFacts {
    std::int64_t size;
    std::int64_t mtime_ns;  // since 1970-01-01 UTC
    bool matches;           // all header parts are as expected
};

// Safe to share between threads. Throws ReadFailure for whatever the system refuses.
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
    // Bytes read without waiting for the disk; 0 also where the system cannot tell.
    std::size_t read_cached(std::uint64_t offset, std::size_t bytes, std::byte* out) const;
    // Has the system bring bytes from the disk meanwhile, if it can.
    void ahead(std::uint64_t offset, std::size_t bytes) const;
    // Has the system forget bytes that it had to bring from the disk.
    void forget(std::uint64_t offset, std::size_t bytes) const;
    FileFacts facts(const std::string& path, std::int64_t frame) const;

  private:
#ifdef _WIN32
    using Handle = void*;
    static const Handle kNone;
#else
    using Handle = int;
    static constexpr Handle kNone = -1;
#endif
    Handle handle_ = kNone;
};

// Bytes of a file, -1 if there is none.
std::int64_t size_of(const std::string& path);

}  // namespace iosfast
