// Looks at headers and records of files, many at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "file.hpp"

namespace iosfast {

// Reads `bytes` bytes at offset, offset + stride, ... of one file, `count` times, into `out`.
// Returns how many records lie wholly within the file.
std::size_t read_records(const std::string& path, std::uint64_t offset, std::uint64_t stride,
                         std::size_t count, std::size_t bytes, std::byte* out);

// What a file is expected to hold at a place; bytes where `mask` is 0 may differ.
struct HeaderPart {
    std::uint64_t offset;
    std::vector<std::uint8_t> bytes, mask;
};

// Looks at many files at once: size, modification time, and whether the header is as expected.
// A file that cannot be opened throws ReadFailure with its index as the frame.
std::vector<FileFacts> probe_files(const std::vector<std::string>& paths,
                                   const std::vector<HeaderPart>& parts, unsigned threads,
                                   const std::function<void(std::size_t)>& poll);

// Bytes of many files, -1 where there is none, without opening them.
void find_sizes(const std::vector<std::string>& paths, unsigned threads,
                std::span<std::int64_t> sizes);

}  // namespace iosfast
