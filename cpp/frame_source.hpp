// Byte ranges of files, or memory, as frames that any number of threads can fetch pieces of.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace iosfast {

enum class PixelType : std::uint8_t { uint8, uint16, int16, int32, uint32, float32, float64 };

// Calls `visitor` with a value of the C++ type of these pixels.
template <class Visitor>
constexpr auto visit_type(PixelType type, Visitor&& visitor) {
    switch (type) {
        case PixelType::uint8:
            return visitor(std::uint8_t{});
        case PixelType::uint16:
            return visitor(std::uint16_t{});
        case PixelType::int16:
            return visitor(std::int16_t{});
        case PixelType::int32:
            return visitor(std::int32_t{});
        case PixelType::uint32:
            return visitor(std::uint32_t{});
        case PixelType::float32:
            return visitor(float{});
        case PixelType::float64:
            break;
    }
    return visitor(double{});
}

constexpr std::size_t pixel_bytes(PixelType type) {
    return visit_type(type, [](auto pixel) { return sizeof(pixel); });
}

// Pixels of files lie at any address: this is the only way in which they are read.
template <class T>
T load(const std::byte* pixels, std::size_t i) {
    T value;
    std::memcpy(&value, pixels + i * sizeof(T), sizeof(T));
    return value;
}

// The unsigned integer that is as large as T.
template <class T>
using WordOf = std::conditional_t<
    sizeof(T) == 1, std::uint8_t,
    std::conditional_t<sizeof(T) == 2, std::uint16_t,
                       std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;

// The same bytes in the other order.
constexpr std::uint8_t turned(std::uint8_t v) {
    return v;
}
constexpr std::uint16_t turned(std::uint16_t v) {
    return std::rotl(v, 8);
}
constexpr std::uint32_t turned(std::uint32_t v) {
    return (v << 24U) | ((v & 0xFF00U) << 8U) | ((v >> 8U) & 0xFF00U) | (v >> 24U);
}
constexpr std::uint64_t turned(std::uint64_t v) {
    const auto low = static_cast<std::uint32_t>(v), high = static_cast<std::uint32_t>(v >> 32U);
    return (std::uint64_t{turned(low)} << 32U) | turned(high);
}

// Turns the byte order of `n` pixels round; `in` may be `out`.
void swap_bytes(const std::byte* in, std::byte* out, std::size_t n, PixelType type);

// A file that cannot be read as it was promised; becomes iosfast.ReadError in Python.
struct ReadFailure : std::runtime_error {
    ReadFailure(const std::string& message, std::string file, std::int64_t at_frame = -1)
        : std::runtime_error(message), path(std::move(file)), frame(at_frame) {}
    std::string path;
    std::int64_t frame;  // counted from 0; -1 if it concerns no frame
};

// What is fetched from this many frames stays valid together.
inline constexpr std::size_t kFramesAtOnce = 4;

// Fetches pixels for one thread.
class FrameCursor {
  public:
    FrameCursor() = default;
    FrameCursor(const FrameCursor&) = delete;
    FrameCursor& operator=(const FrameCursor&) = delete;
    virtual ~FrameCursor() = default;
    // `bytes` bytes of `frame` from `offset` on: a pointer into the source, or to `scratch`,
    // which must hold as many.
    virtual const std::byte* fetch(std::size_t frame, std::size_t offset, std::size_t bytes,
                                   std::byte* scratch) = 0;
    // Frames [first, last) are fetched next, in order: they can be brought from the disk meanwhile.
    virtual void expect(std::size_t /*first*/, std::size_t /*last*/) {}
};

// Of frames that lie in memory at a constant stride (bytes).
class PointerCursor final : public FrameCursor {
  public:
    PointerCursor(const std::byte* pixels, std::size_t stride) : pixels_(pixels), stride_(stride) {}
    const std::byte* fetch(std::size_t frame, std::size_t offset, std::size_t /*bytes*/,
                           std::byte* /*scratch*/) override {
        return pixels_ + frame * stride_ + offset;
    }

  private:
    const std::byte* pixels_;
    std::size_t stride_;
};

class FrameSource {
  public:
    FrameSource(std::size_t frames, std::size_t height, std::size_t width, PixelType type,
                bool swapped)
        : frames(frames), height(height), width(width), type(type), swapped(swapped) {}
    FrameSource(const FrameSource&) = delete;
    FrameSource& operator=(const FrameSource&) = delete;
    virtual ~FrameSource() = default;

    virtual std::unique_ptr<FrameCursor> cursor() const = 0;
    // True if cursors need no scratch memory.
    virtual bool in_memory() const { return false; }
    // A memory map of frames [first, last), which are its frames 0, 1, ...; null if they cannot be
    // mapped, or if reading them is better.
    virtual std::unique_ptr<FrameSource> mapped(std::size_t /*first*/, std::size_t /*last*/) const {
        return nullptr;
    }
    // Called before and after frames [first, last) are fetched; `release` throws ReadFailure if
    // what was fetched is not to be trusted.
    virtual void prepare(std::size_t /*first*/, std::size_t /*last*/) const {}
    virtual void release(std::size_t /*first*/, std::size_t /*last*/) const {}
    // True if one frame is best fetched whole by one thread (each frame has its own file).
    virtual bool frame_is_unit() const { return false; }

    std::size_t pixels() const { return height * width; }
    std::size_t frame_bytes() const { return pixels() * pixel_bytes(type); }

    const std::size_t frames, height, width;
    const PixelType type;
    const bool swapped;  // the stored byte order is not this machine's
};

// Frames that lie one after another in memory owned by someone else.
class MemoryFrames final : public FrameSource {
  public:
    MemoryFrames(const std::byte* data, std::size_t frames, std::size_t height, std::size_t width,
                 PixelType type)
        : FrameSource(frames, height, width, type, false), data_(data) {}
    std::unique_ptr<FrameCursor> cursor() const override;
    bool in_memory() const override { return true; }

  private:
    const std::byte* data_;
};

// Copies frames [start, stop) to `out`, in this machine's byte order.
void copy_frames(const FrameSource& source, std::size_t start, std::size_t stop, std::byte* out);

}  // namespace iosfast
