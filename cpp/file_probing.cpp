#include "file_probing.hpp"

#include <algorithm>
#include <deque>
#include <limits>
#include <stdexcept>

#include "frame_source.hpp"
#include "parallel_for.hpp"

namespace iosfast {
namespace {

// Records that the disk is asked for at once: it finds them far faster than one after the other.
constexpr std::size_t kRecordsAhead = 64;
constexpr std::size_t kFilesAhead = 16;

// Files that a thread looks at before it takes more.
constexpr std::size_t kFilesAtOnce = 64;

File opened(const std::vector<std::string>& paths, std::size_t index) {
    try {
        return File(paths[index]);
    } catch (const ReadFailure& failure) {
        throw ReadFailure(failure.what(), failure.path, static_cast<std::int64_t>(index));
    }
}

}  // namespace

std::size_t read_records(const std::string& path, std::uint64_t offset, std::uint64_t stride,
                         std::size_t count, std::size_t bytes, std::byte* out) {
    constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max();
    if (offset > limit / 2 || stride > limit / 2 / std::max<std::size_t>(count, 1))
        throw std::invalid_argument("offset and stride lead beyond any file");
    const File file(path);
    std::size_t cached = 0;
    while (cached < count &&
           file.read_cached(offset + cached * stride, bytes, out + cached * bytes) == bytes)
        ++cached;
    std::size_t whole = cached;
    for (std::size_t ahead = cached; whole < count; ++whole) {
        for (; ahead < std::min(count, whole + kRecordsAhead); ++ahead)
            file.ahead(offset + ahead * stride, bytes);
        if (file.read(offset + whole * stride, bytes, out + whole * bytes, path, -1) < bytes) break;
    }
    // Single pages that are there hinder the system from reading ahead what lies between them.
    for (std::size_t i = cached; i < whole; ++i) file.forget(offset + i * stride, bytes);
    return whole;
}

std::vector<FileFacts> probe_files(const std::vector<std::string>& paths,
                                   const std::vector<HeaderPart>& parts, unsigned threads,
                                   const std::function<void(std::size_t)>& poll) {
    std::vector<FileFacts> facts(paths.size());
    std::size_t longest = 0;
    for (const auto& part : parts) longest = std::max(longest, part.bytes.size());
    const std::size_t units = (paths.size() + kFilesAtOnce - 1) / kFilesAtOnce;
    parallel_for(
        units, threads,
        [&] {
            return [&, found = std::vector<std::byte>(longest)](
                       std::size_t unit, const std::atomic<bool>& stop) mutable {
                const std::size_t end = std::min(paths.size(), (unit + 1) * kFilesAtOnce);
                std::deque<File> open;  // from file i on
                bool waits = false;
                for (std::size_t i = unit * kFilesAtOnce; i < end && !stop; ++i) {
                    while (i + open.size() < end && open.size() < (waits ? kFilesAhead : 1)) {
                        open.push_back(opened(paths, i + open.size()));
                        for (const auto& part : parts) {
                            if (waits) open.back().ahead(part.offset, part.bytes.size());
                        }
                    }
                    const File& file = open.front();
                    const auto number = static_cast<std::int64_t>(i);
                    facts[i] = file.facts(paths[i], number);
                    for (const auto& part : parts) {
                        const std::size_t bytes = part.bytes.size();
                        std::size_t got = file.read_cached(part.offset, bytes, found.data());
                        if (got < bytes) {
                            waits = true;
                            got = file.read(part.offset, bytes, found.data(), paths[i], number);
                        }
                        bool same = got == bytes;
                        for (std::size_t k = 0; same && k < got; ++k) {
                            const auto byte = std::to_integer<std::uint8_t>(found[k]);
                            same = ((byte ^ part.bytes[k]) & part.mask[k]) == 0;
                        }
                        facts[i].matches = facts[i].matches && same;
                    }
                    open.pop_front();
                }
            };
        },
        poll);
    return facts;
}

void find_sizes(const std::vector<std::string>& paths, unsigned threads,
                std::span<std::int64_t> sizes) {
    const std::size_t units = (paths.size() + kFilesAtOnce - 1) / kFilesAtOnce;
    parallel_for(units, threads, [&] {
        return [&](std::size_t unit, const std::atomic<bool>& /*stop*/) {
            const std::size_t end = std::min(paths.size(), (unit + 1) * kFilesAtOnce);
            for (std::size_t i = unit * kFilesAtOnce; i < end; ++i) sizes[i] = size_of(paths[i]);
        };
    });
}

}  // namespace iosfast
