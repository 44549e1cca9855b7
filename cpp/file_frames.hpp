// Frames that lie in files, fetched with positioned reads or through a memory map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "frame_source.hpp"

namespace iosfast {

// A run of frames at a constant stride in one file.
struct Segment {
    std::size_t file;  // index into the list of paths
    std::uint64_t offset;
    std::uint64_t stride;
    std::size_t frames;
};

class FileFrames final : public FrameSource {
  public:
    // `row_bytes` is the distance from row to row in the files; 0 if the rows follow each other.
    // Throws std::invalid_argument if the segments or rows do not make sense.
    FileFrames(std::vector<std::string> paths, std::vector<Segment> segments, std::size_t height,
               std::size_t width, PixelType type, bool swapped, std::size_t row_bytes = 0);
    ~FileFrames() override;
    std::unique_ptr<FrameCursor> cursor() const override;
    bool frame_is_unit() const override;
    std::unique_ptr<FrameSource> mapped(std::size_t first, std::size_t last) const override;

  private:
    friend class FileCursor;
    struct Files;
    struct Place {
        std::size_t file;
        std::uint64_t offset;
        bool alone;  // the only frame of its run
    };
    std::size_t segment_of(std::size_t frame) const;
    Place place_of(std::size_t frame) const;

    const std::vector<std::string> paths_;
    const std::vector<Segment> segments_;
    const std::size_t row_bytes_;           // 0 if the rows follow each other
    std::vector<std::size_t> first_frame_;  // of every segment
    std::unique_ptr<Files> files_;
};

}  // namespace iosfast
