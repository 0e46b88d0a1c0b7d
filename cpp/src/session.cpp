#include "session.h"

#include <sodium.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace scaler::detail {

using namespace std::chrono_literals;

namespace {

std::string host_name() {
    std::array<char, 256> name{};
    gethostname(name.data(), name.size() - 1);
    return name.data();
}

}  // namespace

Session::Session(Connection where, bool is_cluster)
    : where_(std::move(where)), is_cluster_(is_cluster), bell_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (bell_ < 0) throw ConnectionError("no descriptor is left for a session");
    if (sodium_init() < 0) throw ConnectionError("the library libsodium cannot be used");
    identity_ = random_bytes(16);
}

Session::~Session() {
    link_.reset();
    close(bell_);
}

void Session::ring() noexcept {
    if (is_rung_.exchange(true)) return;
    std::uint64_t one = 1;
    [[maybe_unused]] auto written = write(bell_, &one, sizeof(one));
}

// a link, and going on over another one

void Session::connect() { greet(Clock::now() + std::chrono::milliseconds(static_cast<long>(where_.timeout_s * 1000))); }

void Session::greet(Clock::time_point deadline) {
    auto pause = 10ms;
    int doubts = 0;
    for (;;) {
        std::string why;
        // A number that another client has is temporary: another is drawn, unless tasks were sent under this one.
        if (!is_cluster_ && !was_welcomed_) client_bits_ = randombytes_random() & 0xFFFFFF;
        link_ = std::make_unique<Link>(context_, where_.address, find_keys(where_, is_cluster_ ? "worker" : "client"));
        if (ask(deadline, why)) return;
        if (is_to_end()) throw ConnectionError("it was to end before a scheduler answered at " + where_.address);
        doubts += !link_->why().empty();
        if (!link_->why().empty()) why = link_->why();
        if (doubts >= 5) throw ConnectionError("no connection to the scheduler at " + where_.address + ": " + why);
        if (Clock::now() + pause > deadline)
            throw ConnectionError("no scheduler answered at " + where_.address + " in time" +
                                  (why.empty() ? "" : ": " + why));
        std::this_thread::sleep_for(pause);
        pause = std::min<std::chrono::milliseconds>(250ms, pause * 2);
    }
}

// Says hello, and hears the answer. False if there was none, and it may be tried again.
bool Session::ask(Clock::time_point deadline, std::string& why) {
    auto token = is_confirmed_ ? token_ : std::string();
    link_->send(encode(0, 0, 1024, [&](::Frame::Builder frame) {
        auto hello = frame.initHello();
        hello.setRole(is_cluster_ ? 1 : 0);
        hello.setIdentity(as_data(identity_));
        hello.setClientBits(client_bits_);
        hello.setSession(as_data(token));
        hello.setReceived(token.empty() ? 0 : ledger_.received());
        hello.setEpoch(epoch_);
        hello.setPid(static_cast<std::uint32_t>(getpid()));
        hello.setUid(geteuid());
        hello.setHostName(host_name());
        hello.setMinor(protocol_minor);
        auto names = hello.initWorkerNames(static_cast<unsigned>(worker_names_.size()));
        for (unsigned i = 0; i < worker_names_.size(); ++i) names.set(i, worker_names_[i]);
    }));
    auto end = std::min(deadline, Clock::now() + 5s);
    zmq::message_t message;
    while (!link_->is_broken() && !is_to_end() && Clock::now() < end) {
        link_->wait(50, -1);
        if (!link_->receive(message)) continue;
        Incoming incoming(message.data(), message.size());
        auto frame = incoming.frame();
        if (frame.isRefusal()) {
            why = frame.getRefusal().getReason();
            if (!frame.getRefusal().getIsTemporary()) throw ConnectionError("the scheduler refused: " + why);
            is_confirmed_ = false;
            return false;
        }
        if (!frame.isWelcome()) continue;
        auto welcome = frame.getWelcome();
        if (welcome.getSession().size() != 16 || welcome.getHeartbeatMs() == 0)
            throw ConnectionError("the scheduler's welcome makes no sense");
        if (welcome.getMinor() < protocol_minor)
            throw ConnectionError("the scheduler is older than named functions: install a later version of scaler there");
        token_ = as_bytes(welcome.getSession());
        epoch_ = welcome.getEpoch();
        heartbeat_ = std::chrono::milliseconds(std::max<std::uint32_t>(welcome.getHeartbeatMs(), 10));
        heard_ = said_ = Clock::now();
        bool is_first = !was_welcomed_;
        was_welcomed_ = true;
        if (!token.empty() && welcome.getResumed()) {
            for (const auto& bytes : ledger_.resume(welcome.getReceived())) link_->send(bytes);
            return true;
        }
        is_confirmed_ = false;
        before_ = std::exchange(ledger_, Ledger());
        sending_.reset();
        arriving_.clear();
        on_new_session(is_first);
        return true;
    }
    why = link_->is_broken()  ? "nobody listens there, or the connection broke"
          : link_->has_met() ? "what listens there speaks ZeroMQ, and does not answer"
                              : "what listens there does not answer";
    return false;
}

void Session::reconnect() {
    greet(Clock::now() + std::chrono::milliseconds(static_cast<long>(where_.timeout_s * 1000)));
}

// the thread

void Session::loop() {
    try {
        while (!over_ && !is_finished()) {
            auto now = Clock::now();
            auto due = said_ + heartbeat_;
            if (ledger_.owes()) due = std::min(due, owes_since_ + 10ms);
            bool may_go_on = is_sending() ? ledger_.unacknowledged_bytes() < chunk_window_bytes : has_news() && has_room();
            bool is_busy = is_rung_.exchange(false) || may_go_on;
            auto left = std::chrono::duration_cast<std::chrono::milliseconds>(due - now).count();
            link_->wait(is_busy ? 0 : std::clamp<long>(left, 0, 1000), bell_);
            std::uint64_t rung;
            [[maybe_unused]] auto bytes = read(bell_, &rung, sizeof(rung));
            zmq::message_t message;
            for (int i = 0; i < 64 && !over_ && link_->receive(message); ++i) on_message(message);
            now = Clock::now();
            bool is_silent = now > heard_ + std::max<Clock::duration>(10s, 5 * heartbeat_);
            if (!over_ && (link_->is_broken() || is_silent)) reconnect();
            if (over_) break;
            if (is_sending()) go_on_sending();
            if (!is_sending()) collect();
            say_what_is_due(Clock::now());
        }
    } catch (const std::exception& error) {
        over_ = error.what();
    } catch (const kj::Exception& error) {
        over_ = std::string("a frame of the scheduler's makes no sense: ") + error.getDescription().cStr();
    }
    // Goodbye, whatever it ends for. The scheduler hears at once that nobody is here any more.
    if (link_) {
        post(64, [](::Frame::Builder frame) { frame.initGoodbye(); });
        for (auto end = Clock::now() + 1s; !link_->is_broken() && !has_said_all() && Clock::now() < end;) {
            link_->wait(20, -1);
            zmq::message_t message;
            try {
                while (link_->receive(message)) {
                    Incoming incoming(message.data(), message.size());
                    if (!incoming.frame().isWelcome()) ledger_.take(incoming.frame());
                }
            } catch (const std::exception&) {
                break;
            }
        }
    }
    on_over(over_.value_or("it has left"));
}

void Session::on_message(const zmq::message_t& message) {
    Incoming incoming(message.data(), message.size());
    auto frame = incoming.frame();
    heard_ = Clock::now();
    if (frame.isWelcome()) return;
    if (frame.isRefusal()) {
        if (!frame.getRefusal().getIsTemporary())
            return end("the scheduler refused: " + std::string(frame.getRefusal().getReason()));
        is_confirmed_ = false;  // it begins anew
        return reconnect();
    }
    is_confirmed_ = true;
    bool owed = ledger_.owes();
    if (!ledger_.take(frame)) return;
    if (!owed && ledger_.owes()) owes_since_ = heard_;
    if (frame.isChunk())
        take_chunk(frame.getChunk());
    else if (frame.isOffer())  // it comes in chunks
        post(64, [&](::Frame::Builder answer) { answer.initFetched().setObject(frame.getOffer().getObject()); });
    else if (frame.isGoodbye())
        end("the scheduler said goodbye: " + std::string(frame.getGoodbye().getReason()));
    else if (!frame.isAcknowledge() && !frame.isHeartbeat())
        on_frame(frame);
}

void Session::say_what_is_due(Clock::time_point now) {
    if (now >= said_ + heartbeat_) {
        said_ = now;
        auto time_ns = static_cast<std::uint64_t>(now.time_since_epoch() / 1ns);
        link_->send(ledger_.say([&](::Frame::Builder frame) { frame.initHeartbeat().setTimeNs(time_ns); }));
    } else if (ledger_.owes() && now >= owes_since_ + 10ms) {
        link_->send(ledger_.say([](::Frame::Builder frame) { frame.setAcknowledge(); }));
    }
}

// objects

void Session::send_object(std::uint64_t object, std::string bytes, std::function<void()> then) {
    sending_ = Sending{object, std::move(bytes), 0, std::move(then)};
    go_on_sending();
}

void Session::go_on_sending() {
    while (sending_ && ledger_.unacknowledged_bytes() < chunk_window_bytes) {
        auto size = std::min(chunk_bytes, sending_->bytes.size() - sending_->sent);
        post(size, [&](::Frame::Builder frame) {
            auto chunk = frame.initChunk();
            chunk.setObject(sending_->object);
            chunk.setOffset(sending_->sent);
            chunk.setTotalBytes(sending_->bytes.size());
            chunk.setData(as_data(std::string_view(sending_->bytes).substr(sending_->sent, size)));
        });
        sending_->sent += size;
        if (sending_->sent < sending_->bytes.size()) continue;
        auto then = std::move(sending_->then);
        sending_.reset();
        then();
    }
}

void Session::take_chunk(::Chunk::Reader chunk) {
    auto& bytes = arriving_[chunk.getObject()];
    auto data = as_bytes(chunk.getData());
    if (chunk.getOffset() != bytes.size() || data.empty() || data.size() > chunk.getTotalBytes() - bytes.size())
        throw FrameError("a chunk does not go on where its object ends");
    bytes.append(data);
    if (bytes.size() < chunk.getTotalBytes()) return;
    objects_[chunk.getObject()] = std::move(bytes);
    arriving_.erase(chunk.getObject());
}

std::string Session::take_object(std::string_view payload, bool is_kept) {
    if (payload.size() < 48 || number_at<std::uint32_t>(payload, 0) != 1)
        throw FrameError("a payload names " + std::to_string(payload.size() < 4 ? 0 : number_at<std::uint32_t>(payload, 0)) +
                         " objects, and not one");
    auto object = number_at<std::uint64_t>(payload, 8);
    auto flags = number_at<std::uint32_t>(payload, 40);
    auto found = objects_.find(object);
    if (found == objects_.end()) throw FrameError("the object that a payload names is not here");
    std::string bytes = is_kept ? found->second : std::move(found->second);
    if (!is_kept) objects_.erase(found);
    if (!(flags & place_packed)) return bytes;
    if (bytes.size() < 16 || number_at<std::uint64_t>(bytes, 8) != 0 ||
        number_at<std::uint64_t>(bytes, 0) > bytes.size() - 16)
        throw FrameError("an object is not one text");
    return bytes.substr(16, number_at<std::uint64_t>(bytes, 0));
}

std::string places_of(std::uint64_t object, std::uint64_t size, std::uint32_t flags) {
    std::string places;
    put<std::uint64_t>(places, 1);
    put(places, object);
    put<std::uint64_t>(places, 0);
    put<std::uint64_t>(places, 0);
    put(places, size);
    put(places, flags);
    put<std::uint32_t>(places, 0);
    return places;
}

std::string packed(const std::string& bytes) {
    std::string whole;
    put<std::uint64_t>(whole, bytes.size());
    put<std::uint64_t>(whole, 0);
    return whole + bytes;
}

// small things

std::string random_bytes(std::size_t count) {
    std::string bytes(count, '\0');
    randombytes_buf(bytes.data(), count);
    return bytes;
}

std::string digest_of(const std::string& name) {
    std::array<unsigned char, crypto_hash_sha256_BYTES> hash{};
    crypto_hash_sha256(hash.data(), reinterpret_cast<const unsigned char*>(name.data()), name.size());
    return {reinterpret_cast<const char*>(hash.data()), 16};
}

std::string tag_of(const std::string& name) {
    if (name.empty() || name.size() > 255) throw std::invalid_argument("a name has 1 to 255 bytes: " + name);
    if (name.find(':') != std::string::npos) return "";
    if (name.size() > 62 || name.find_first_of("=@\n") != std::string::npos)
        throw std::invalid_argument("a name without a colon has at most 62 bytes, and no = or @: " + name);
    return "f:" + name;
}

namespace {

// The text at the end of a pickle of (exception, text), which may be read without the pickle: before TUPLE2 and STOP.
std::string last_text(std::string_view pickle) {
    auto drop = [&](char opcode) {
        bool is_there = !pickle.empty() && pickle.back() == opcode;
        if (is_there) pickle.remove_suffix(1);
        return is_there;
    };
    if (!drop('.')) return "";
    drop('\x94');
    if (!drop('\x86')) return "";
    drop('\x94');
    for (std::size_t at = 0; at + 2 <= pickle.size(); ++at) {
        auto left = pickle.size() - at;
        if (pickle[at] == 'X' && left >= 5 && number_at<std::uint32_t>(pickle, at + 1) == left - 5)
            return std::string(pickle.substr(at + 5));
        if (pickle[at] == '\x8c' && static_cast<unsigned char>(pickle[at + 1]) == left - 2)
            return std::string(pickle.substr(at + 2));
    }
    return "";
}

}  // namespace

RemoteError read_failure(std::string_view payload) {
    auto said = Json::parse(payload, nullptr, false);
    if (said.is_object()) {
        auto text = [&](const char* key) {
            auto found = said.find(key);
            return found != said.end() && found->is_string() ? found->get<std::string>() : std::string();
        };
        return {text("type"), text("message"), text("traceback")};
    }
    // The last line of a traceback that does not go on another one has the type and the message.
    auto traceback = last_text(payload);
    auto end = traceback.find_last_not_of('\n');
    auto begin = end == std::string::npos ? std::string::npos : traceback.find_last_of('\n', end);
    auto line = end == std::string::npos ? "" : traceback.substr(begin == std::string::npos ? 0 : begin + 1, end - begin);
    while (!line.empty() && line.back() == '\n') line.pop_back();
    auto colon = line.find(": ");
    if (line.empty()) return {"Error", "a failure that cannot be read here", ""};
    return {line.substr(0, colon), colon == std::string::npos ? "" : line.substr(colon + 2), traceback};
}

}  // namespace scaler::detail
