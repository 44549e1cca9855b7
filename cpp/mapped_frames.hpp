// Frames of a file that is in the page cache, read through a memory map: no copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "frame_source.hpp"

namespace iosfast {

// A memory map whose pages may vanish: where the file has become shorter, the map reads as zeros
// and says so, instead of the system killing the process (SIGBUS).
class MappedFrames final : public FrameSource {
  public:
    // Maps `frames` frames of a file; null if this system cannot, if the file is not in the page
    // cache (reading it is faster then).
    static std::unique_ptr<MappedFrames> open(const std::string& path, std::size_t first_frame,
                                              std::uint64_t offset, std::uint64_t stride,
                                              std::size_t frames, std::size_t height,
                                              std::size_t width, PixelType type, bool swapped);
    ~MappedFrames() override;
    // Pixels of a frame of the map.
    const std::byte* frame(std::size_t number) const;

    std::unique_ptr<FrameCursor> cursor() const override;
    bool in_memory() const override { return true; }
    // Brings the pages of some frames in.
    void prepare(std::size_t first, std::size_t last) const override;
    // Throws ReadFailure if the file has become shorter than some frames need: then what was read
    // is not what the file held.
    void check(std::size_t first, std::size_t last) const;
    // Checks them, and lets their pages go.
    void release(std::size_t first, std::size_t last) const override;

  private:
    struct Map;
    MappedFrames(std::unique_ptr<Map> map, std::size_t frames, std::size_t height,
                 std::size_t width, PixelType type, bool swapped);
    std::unique_ptr<Map> map_;
};

}  // namespace iosfast
