// Link: one connection to a scheduler, a ZeroMQ DEALER. A link that breaks is thrown away: ZeroMQ's own reconnecting is
// off, since it would send what was queued before any hello.
//
// Not here: what is said (session).
#pragma once

#include <scaler/common.h>

#include <optional>
#include <string>
#include <string_view>
#include <zmq.hpp>

#include "keys.h"

namespace scaler::detail {

class Link {
  public:
    Link(zmq::context_t& context, const std::string& address, const std::optional<Keys>& keys);
    ~Link();
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    void send(std::string_view bytes);
    // The next message; false if there is none now. One of several parts is empty, which no frame is.
    bool receive(zmq::message_t& message);
    // Until there is a message, the connection breaks, or `bell` (an eventfd) rings.
    void wait(long milliseconds, int bell);

    bool is_broken() const { return is_broken_; }
    const std::string& why() const { return why_; }  // it is broken, if that is known
    bool has_met() const { return has_met_; }        // what listens there speaks ZeroMQ

  private:
    void hear_monitor();

    std::string monitor_name_;
    zmq::socket_t socket_, monitor_;
    bool has_keys_, is_broken_ = false, has_met_ = false;
    std::string why_;
};

}  // namespace scaler::detail
