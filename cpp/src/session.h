// Session: what one peer and one scheduler have with each other, over one link or several in turn, in a thread of its own.
//
// What both kinds of peer have in common stands here: hello, going on after a break, numbers, heartbeats, and objects in
// chunks both ways. A subclass says what it has to say in `collect`, and hears frames in `on_frame`.
//
// Rule 1: sockets and the ledger are the thread's. Others leave what they want said with the subclass, and ring.
// Rule 2: no more than a window is under way; what is beyond waits with the subclass.
#pragma once

#include <scaler/common.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>
#include <zmq.hpp>

#include "frame.h"
#include "ledger.h"
#include "link.h"

namespace scaler::detail {

using Clock = std::chrono::steady_clock;

// A payload that has become too large for a record, on its way as an object.
struct Sending {
    std::uint64_t object = 0;
    std::string bytes;
    std::size_t sent = 0;
    std::function<void()> then;  // says the record that names it
};

class Session {
  public:
    Session(Connection where, bool is_cluster);
    virtual ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    void ring() noexcept;  // the thread has something to look at; from anywhere, the handler of a signal included

  protected:
    void connect();      // waits for the welcome; ConnectionError
    void loop();         // until the session is over
    virtual void on_frame(::Frame::Reader frame) = 0;
    virtual void on_new_session(bool is_first) = 0;  // nothing of what was said before is known to the scheduler
    virtual bool has_news() = 0;                     // something is to be said
    virtual void collect() = 0;                      // say it, as far as there is room
    virtual bool is_finished() = 0;                  // all has been said that was to be said
    virtual bool is_to_end() const = 0;              // so it waits for no scheduler; asked in any thread
    virtual void on_over(const std::string& reason) = 0;

    void post(std::size_t size, const Fill& fill) { link_->send(ledger_.post(size, fill)); }
    bool has_room() const { return ledger_.unacknowledged_bytes() < window_bytes && ledger_.unacknowledged() < 8192; }
    bool has_said_all() const { return ledger_.unacknowledged() == 0; }
    const Ledger& ledger() const { return ledger_; }
    const Ledger& ledger_before() const { return before_; }  // of the session that could not go on
    void end(std::string reason) { over_ = std::move(reason); }

    // Objects. One goes at a time; records that come behind wait, so that none overtakes what it may need.
    void send_object(std::uint64_t object, std::string bytes, std::function<void()> then);
    bool is_sending() const { return sending_.has_value(); }
    bool is_ringing() const { return is_rung_.load(); }
    void go_on_sending();
    void take_chunk(::Chunk::Reader chunk);
    // The bytes of the only object that a payload names, ConnectionError if they are not here.
    std::string take_object(std::string_view payload, bool is_kept);
    std::unordered_map<std::uint64_t, std::string> objects_;  // that have come, and are here

    const Connection where_;
    const bool is_cluster_;
    std::uint32_t client_bits_ = 0;
    std::string identity_;
    std::vector<std::string> worker_names_;

  private:
    static constexpr std::size_t window_bytes = 8 << 20;
    static constexpr std::size_t chunk_window_bytes = 2 << 20;

    void greet(Clock::time_point deadline);
    bool ask(Clock::time_point deadline, std::string& why);
    void on_message(const zmq::message_t& message);
    void say_what_is_due(Clock::time_point now);
    void reconnect();

    zmq::context_t context_{1};
    int bell_;
    std::atomic<bool> is_rung_ = false;
    std::unique_ptr<Link> link_;
    Ledger ledger_, before_;
    std::string token_;
    std::uint64_t epoch_ = 0;
    bool is_confirmed_ = false;  // something has come in this session
    bool was_welcomed_ = false;
    std::chrono::milliseconds heartbeat_{1000};
    Clock::time_point heard_, said_, owes_since_;
    std::optional<std::string> over_;
    std::optional<Sending> sending_;
    std::unordered_map<std::uint64_t, std::string> arriving_;
};

// What a neutral failure says, or the text in a pickled one.
RemoteError read_failure(std::string_view payload);
std::string places_of(std::uint64_t object, std::uint64_t size, std::uint32_t flags);
std::string packed(const std::string& bytes);
std::string random_bytes(std::size_t count);
std::string digest_of(const std::string& name);  // by which the scheduler knows a named function
// What workers that serve this function have, and its calls ask for; nothing if Python imports it. std::invalid_argument
// for what is no name.
std::string tag_of(const std::string& name);

}  // namespace scaler::detail
