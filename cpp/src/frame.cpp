#include "frame.h"

#include <kj/exception.h>

namespace scaler::detail {

namespace {

kj::Array<capnp::word> aligned(const void* data, std::size_t size) {
    if (size > most_frame_bytes || size < 16 || size % 8)
        throw FrameError("a frame of " + std::to_string(size) + " bytes, which none has");
    auto words = kj::heapArray<capnp::word>(size / sizeof(capnp::word));
    std::memcpy(words.begin(), data, size);
    return words;
}

capnp::ReaderOptions limits(std::size_t words) {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = words + 64;
    options.nestingLimit = 4;
    return options;
}

}  // namespace

Incoming::Incoming(const void* data, std::size_t size)
    : words_(aligned(data, size)), reader_(words_, limits(words_.size())) {
    auto read = frame();
    if (read.getMagic() != ::MAGIC) throw FrameError("something else than Scaler speaks at this address");
    if (read.getVersion() != ::VERSION)
        throw FrameError("the scheduler speaks version " + std::to_string(read.getVersion()) +
                         " of Scaler's protocol and this program version " + std::to_string(::VERSION) +
                         ": build it from the sources of the same release");
}

std::string encode(std::uint64_t number, std::uint64_t acknowledged, std::size_t size, const Fill& fill) {
    // In one segment, which the other side reads fastest.
    capnp::MallocMessageBuilder message(static_cast<unsigned>(size / sizeof(capnp::word) + 128));
    auto frame = message.initRoot<::Frame>();
    frame.setMagic(::MAGIC);
    frame.setVersion(::VERSION);
    frame.setNumber(number);
    frame.setAcknowledged(acknowledged);
    fill(frame);
    auto words = capnp::messageToFlatArray(message);
    auto bytes = words.asBytes();
    return {reinterpret_cast<const char*>(bytes.begin()), bytes.size()};
}

std::vector<std::uint32_t> read_ends(capnp::Data::Reader ends, capnp::Data::Reader payload, std::size_t rows) {
    auto read = read_column<std::uint32_t>("ends", ends, rows);
    std::uint32_t before = 0;
    for (auto end : read) {
        if (end < before || end > payload.size()) throw FrameError("ends: they do not rise to the end of the payload");
        before = end;
    }
    if (before != payload.size()) throw FrameError("ends: they do not rise to the end of the payload");
    return read;
}

}  // namespace scaler::detail
