// Ledger: what was said to the scheduler and not yet taken, and what was taken from it, across connections.
//
// Each direction numbers its frames from 1; each frame carries back the highest number taken. What is not acknowledged is
// kept as bytes, and sent again when the session goes on over another connection (protocol/README.md, Numbers).
#pragma once

#include <deque>

#include "frame.h"

namespace scaler::detail {

class Ledger {
  public:
    // The next numbered frame, which is kept.
    const std::string& post(std::size_t size, const Fill& fill) {
        kept_.push_back(encode(sent_ + 1, received_, size, fill));
        ++sent_;
        told_ = received_;
        bytes_ += kept_.back().size();
        return kept_.back();
    }

    // A frame outside of the numbered order.
    std::string say(const Fill& fill) {
        told_ = received_;
        return encode(0, received_, 0, fill);
    }

    // Books a frame that came in: whether something is to be done about it. FrameError if numbers do not fit.
    bool take(::Frame::Reader frame) {
        if (frame.getAcknowledged() > sent_) throw FrameError("a number is acknowledged that was never sent");
        if (frame.getNumber() > received_ + 1) throw FrameError("frames of the scheduler's are missing");
        release(frame.getAcknowledged());
        if (frame.getNumber() == 0) return true;
        if (frame.getNumber() <= received_) return false;
        received_ = frame.getNumber();
        return true;
    }

    // The session goes on, and the other side has taken so many: what is to be sent again.
    const std::deque<std::string>& resume(std::uint64_t taken) {
        if (taken > sent_ || taken < sent_ - kept_.size()) throw FrameError("the session cannot go on after that number");
        release(taken);
        return kept_;
    }

    std::uint64_t received() const { return received_; }
    std::size_t unacknowledged() const { return kept_.size(); }
    std::size_t unacknowledged_bytes() const { return bytes_; }
    bool owes() const { return received_ != told_; }
    const std::deque<std::string>& kept() const { return kept_; }

  private:
    void release(std::uint64_t acknowledged) {
        while (!kept_.empty() && sent_ - kept_.size() < acknowledged) {
            bytes_ -= kept_.front().size();
            kept_.pop_front();
        }
    }

    std::deque<std::string> kept_;  // those up to `sent_`
    std::uint64_t sent_ = 0, received_ = 0, told_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace scaler::detail
