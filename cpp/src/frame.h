// Frames to bytes and back, and the columns in them. The schemas of protocol/ say what a frame has.
//
// Rule 1: whatever the bytes are, reading them is an answer or a FrameError. Columns are measured before they are read.
// Rule 2: this code is for machines that have their low bytes first, as the wire has.
#pragma once

#include <scaler/common.h>

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "frame.capnp.h"

namespace scaler::detail {

static_assert(std::endian::native == std::endian::little, "columns are written as they lie in memory");

constexpr std::size_t most_frame_bytes = 4 << 20;
constexpr std::size_t most_payload_bytes = 32712;  // of a task or a result, beside the columns
constexpr std::size_t chunk_bytes = 128 << 10;
constexpr std::uint16_t protocol_minor = 2;
constexpr std::uint8_t flag_objects = 1, flag_request = 8, flag_named = 64, flag_resent = 128;
constexpr std::uint32_t place_new = 1, place_stream = 4, place_packed = 8;

enum Status : std::uint16_t { ok, raised, worker_died, refused, unreadable, no_worker, missing, stopped };

class FrameError : public Error {
  public:
    using Error::Error;
};

// One frame that has come in.
class Incoming {
  public:
    Incoming(const void* data, std::size_t size);
    ::Frame::Reader frame() { return reader_.getRoot<::Frame>(); }

  private:
    kj::Array<capnp::word> words_;
    capnp::FlatArrayMessageReader reader_;
};

using Fill = std::function<void(::Frame::Builder)>;

// The bytes of a frame; `size` is about what is filled in.
std::string encode(std::uint64_t number, std::uint64_t acknowledged, std::size_t size, const Fill& fill);

inline capnp::Data::Reader as_data(std::string_view bytes) {
    return {reinterpret_cast<const capnp::byte*>(bytes.data()), bytes.size()};
}
inline std::string_view as_bytes(capnp::Data::Reader data) {
    return {reinterpret_cast<const char*>(data.begin()), data.size()};
}

template <class Number>
void put(std::string& column, Number number) {
    column.append(reinterpret_cast<const char*>(&number), sizeof(Number));
}

template <class Number>
Number number_at(std::string_view bytes, std::size_t offset) {
    Number number;
    std::memcpy(&number, bytes.data() + offset, sizeof(Number));
    return number;
}

// How many rows this column has, by which all others are measured. (Each column is asked of its frame once: what is read
// counts against the frame's limit.)
template <class Number>
std::size_t rows_of(const char* name, capnp::Data::Reader column) {
    if (column.size() == 0 || column.size() % sizeof(Number))
        throw FrameError(std::string(name) + ": " + std::to_string(column.size()) + " bytes are no rows");
    return column.size() / sizeof(Number);
}

// One number for each row; an empty column stands for zeros.
template <class Number>
std::vector<Number> read_column(const char* name, capnp::Data::Reader column, std::size_t rows) {
    std::vector<Number> numbers(rows);
    if (column.size() == 0) return numbers;
    if (column.size() != rows * sizeof(Number))
        throw FrameError(std::string(name) + ": " + std::to_string(column.size()) + " bytes are not " +
                         std::to_string(rows) + " rows");
    std::memcpy(numbers.data(), column.begin(), column.size());
    return numbers;
}

// Where each row's payload ends: rising to the end of the payload.
std::vector<std::uint32_t> read_ends(capnp::Data::Reader ends, capnp::Data::Reader payload, std::size_t rows);

}  // namespace scaler::detail
