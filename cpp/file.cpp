#include "file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "frame_source.hpp"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#endif

namespace iosfast {

#ifdef _WIN32

namespace {

std::string last_error() {
    return std::system_category().message(static_cast<int>(GetLastError()));
}

std::wstring to_wide(const std::string& path) {
    const int length = MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, nullptr, 0);
    std::wstring wide(static_cast<std::size_t>(length), L'\0');
    MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, wide.data(), length);
    return wide;
}

}  // namespace

const File::Handle File::kNone = INVALID_HANDLE_VALUE;

File::File(const std::string& path) {
    handle_ = CreateFileW(to_wide(path).c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE,
                          nullptr, OPEN_EXISTING, FILE_FLAG_SEQUENTIAL_SCAN, nullptr);
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

FileFacts File::facts(const std::string& path, std::int64_t frame) const {
    LARGE_INTEGER size;
    FILETIME time;
    if (!GetFileSizeEx(handle_, &size) || !GetFileTime(handle_, nullptr, nullptr, &time))
        throw ReadFailure("cannot be examined: " + last_error(), path, frame);
    const auto ticks = (static_cast<std::int64_t>(time.dwHighDateTime) << 32) | time.dwLowDateTime;
    return {size.QuadPart, (ticks - 116444736000000000LL) * 100, true};
}

std::int64_t size_of(const std::string& path) {
    WIN32_FILE_ATTRIBUTE_DATA info;
    if (GetFileAttributesExW(to_wide(path).c_str(), GetFileExInfoStandard, &info))
        return (static_cast<std::int64_t>(info.nFileSizeHigh) << 32) | info.nFileSizeLow;
    const DWORD error = GetLastError();
    if (error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND) return -1;
    throw ReadFailure("cannot be read: " + last_error(), path);
}

#else

namespace {

std::string last_error() {
    return std::generic_category().message(errno);
}

}  // namespace

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

FileFacts File::facts(const std::string& path, std::int64_t frame) const {
    struct ::stat info{};
    if (::fstat(handle_, &info) != 0)
        throw ReadFailure("cannot be examined: " + last_error(), path, frame);
#ifdef __APPLE__
    const auto& time = info.st_mtimespec;
#else
    const auto& time = info.st_mtim;
#endif
    return {info.st_size, static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec,
            true};
}

std::int64_t size_of(const std::string& path) {
    struct ::stat info{};
    if (::stat(path.c_str(), &info) == 0) return info.st_size;
    if (errno == ENOENT) return -1;
    throw ReadFailure("cannot be read: " + last_error(), path);
}

#endif

#ifdef __linux__

std::size_t File::read_cached(std::uint64_t offset, std::size_t bytes, std::byte* out) const {
    const ::iovec part{out, bytes};
    const ::ssize_t got = ::preadv2(handle_, &part, 1, static_cast<::off_t>(offset), RWF_NOWAIT);
    return got < 0 ? 0 : static_cast<std::size_t>(got);
}

// A read that does not wait makes the system read ahead, as one that waits would. Advice
// (POSIX_FADV_WILLNEED) does so in the smallest pages, which take longer to fill and to copy.
void File::ahead(std::uint64_t offset, std::size_t bytes) const {
    constexpr std::size_t most = std::size_t{512} << 10U;  // at a time; systems refuse far more
    thread_local std::array<std::byte, std::size_t{16} << 10U> nowhere;
    std::array<::iovec, most / sizeof(nowhere)> parts{};
    for (std::size_t at = 0; at < bytes; at += most) {
        const std::size_t n = std::min(most, bytes - at);
        std::size_t count = 0;
        for (std::size_t k = 0; k < n; k += nowhere.size())
            parts[count++] = {nowhere.data(), std::min(nowhere.size(), n - k)};
        static_cast<void>(::preadv2(handle_, parts.data(), static_cast<int>(count),
                                    static_cast<::off_t>(offset + at), RWF_NOWAIT));
    }
}

void File::forget(std::uint64_t offset, std::size_t bytes) const {
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const std::uint64_t begin = offset / page * page,
                        end = (offset + bytes + page - 1) / page * page;
    ::posix_fadvise(handle_, static_cast<::off_t>(begin), static_cast<::off_t>(end - begin),
                    POSIX_FADV_DONTNEED);
}

#else

std::size_t File::read_cached(std::uint64_t /*offset*/, std::size_t /*bytes*/,
                              std::byte* /*out*/) const {
    return 0;
}

void File::ahead(std::uint64_t /*offset*/, std::size_t /*bytes*/) const {}
void File::forget(std::uint64_t /*offset*/, std::size_t /*bytes*/) const {}

#endif

}  // namespace iosfast
