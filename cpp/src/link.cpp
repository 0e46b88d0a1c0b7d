#include "link.h"

#include <atomic>
#include <cstdint>
#include <cstring>

namespace scaler::detail {

namespace {

std::atomic<unsigned> links = 0;
constexpr int ended = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_MONITOR_STOPPED |
                      ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                      ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
constexpr auto no_keys =
    "the scheduler wants keys, and none were given: name a folder of keys, or set SCALER_KEYS; on one machine run as the "
    "scheduler's user";

}  // namespace

Link::Link(zmq::context_t& context, const std::string& address, const std::optional<Keys>& keys)
    : monitor_name_("inproc://scaler-link-" + std::to_string(++links)), socket_(context, zmq::socket_type::dealer),
      monitor_(context, zmq::socket_type::pair), has_keys_(keys.has_value()) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::sndhwm, 0);
    socket_.set(zmq::sockopt::rcvhwm, 0);
    socket_.set(zmq::sockopt::reconnect_ivl, -1);
    socket_.set(zmq::sockopt::ipv6, true);
    socket_.set(zmq::sockopt::tcp_keepalive, 1);
    socket_.set(zmq::sockopt::tcp_keepalive_idle, 30);
    socket_.set(zmq::sockopt::tcp_keepalive_intvl, 10);
    socket_.set(zmq::sockopt::tcp_keepalive_cnt, 3);
    socket_.set(zmq::sockopt::maxmsgsize, std::int64_t{(4 << 20) + (64 << 10)});
    socket_.set(zmq::sockopt::handshake_ivl, 5000);
    if (keys) {
        socket_.set(zmq::sockopt::curve_serverkey, keys->scheduler);
        socket_.set(zmq::sockopt::curve_publickey, keys->own_public);
        socket_.set(zmq::sockopt::curve_secretkey, keys->own_secret);
    }
    if (zmq_socket_monitor(socket_.handle(), monitor_name_.c_str(), ended | ZMQ_EVENT_HANDSHAKE_SUCCEEDED) != 0)
        throw zmq::error_t();
    monitor_.connect(monitor_name_);
    try {
        socket_.connect(address);
    } catch (const zmq::error_t& error) {
        throw ConnectionError(address + " is no address to connect to: " + error.what());
    }
}

Link::~Link() { zmq_socket_monitor(socket_.handle(), nullptr, 0); }

void Link::send(std::string_view bytes) {
    try {
        socket_.send(zmq::buffer(bytes), zmq::send_flags::dontwait);
    } catch (const zmq::error_t&) {
        is_broken_ = true;
    }
}

bool Link::receive(zmq::message_t& message) {
    if (!socket_.recv(message, zmq::recv_flags::dontwait)) return false;
    if (!message.more()) return true;
    while (message.more() && socket_.recv(message, zmq::recv_flags::none)) {
    }
    message.rebuild();
    return true;
}

void Link::wait(long milliseconds, int bell) {
    zmq_pollitem_t items[] = {{socket_.handle(), 0, ZMQ_POLLIN, 0},
                              {monitor_.handle(), 0, ZMQ_POLLIN, 0},
                              {nullptr, bell, ZMQ_POLLIN, 0}};
    zmq_poll(items, 3, milliseconds);
    if (items[1].revents & ZMQ_POLLIN) hear_monitor();
}

void Link::hear_monitor() {
    zmq::message_t event, address;
    while (monitor_.recv(event, zmq::recv_flags::dontwait)) {
        if (event.more() && !monitor_.recv(address, zmq::recv_flags::none)) return;
        std::uint16_t kind = 0;
        std::memcpy(&kind, event.data(), sizeof(kind));
        if (kind == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            has_met_ = true;
            continue;
        }
        is_broken_ = true;
        if (!why_.empty()) continue;
        if (kind == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
            why_ = "the scheduler does not know this key: use a folder of keys that was made with the scheduler's";
        else if (kind == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL || kind == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
            why_ = has_keys_ ? "this is not the scheduler of these keys, or it speaks without any: use the folder it was "
                               "started with"
                             : no_keys;
    }
}

}  // namespace scaler::detail
