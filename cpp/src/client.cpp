#include <scaler/client.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <unistd.h>
#include <unordered_map>
#include <unordered_set>

#include "session.h"

namespace scaler {

namespace detail {

// What has become of a call. Written by the session's thread, once.
struct Outcome {
    std::mutex mutex;
    std::condition_variable changed;
    bool is_done = false;
    Status status = ok;
    std::string payload;       // as it came, or a sentence if the status has one
    std::atomic<bool> is_cancelled = false;  // by this client
    bool is_lost = false;      // the session is over: `payload` says why
    std::uint64_t task = 0;
    std::weak_ptr<ClientSession> session;

    void complete(Status how, std::string said, bool lost = false) {
        {
            std::lock_guard lock(mutex);
            if (is_done) return;
            is_done = true;
            status = how;
            payload = std::move(said);
            is_lost = lost;
        }
        changed.notify_all();
    }

    Json open() const;
};

namespace {

constexpr std::uint64_t number_mask = (std::uint64_t{1} << 40) - 1;
constexpr std::size_t batch_bytes = 128 << 10;
constexpr std::size_t most_waiting_bytes = 32 << 20;  // of calls that were not sent yet

struct Call {
    std::uint32_t function;
    std::string payload;
    std::uint32_t options, limit_ms;
    std::shared_ptr<Outcome> outcome;
    bool was_sent = false;  // to this scheduler or to one before
};

std::string what_died(const std::string& payload) {
    auto facts = Json::parse(payload, nullptr, false);
    if (!facts.is_object()) return "the worker died";
    std::string text = "the worker died";
    if (auto worker = facts.value("worker", ""); !worker.empty()) text = "worker " + worker + " died";
    if (facts.contains("code") && facts["code"].is_number_integer()) {
        int code = facts["code"].get<int>();
        const char* signal = code < 0 ? sigabbrev_np(-code) : nullptr;
        text += signal ? std::string(" of SIG") + signal : " with exit code " + std::to_string(code);
    }
    if (facts.contains("tries") && facts["tries"].is_number())
        text += ", after the task was run " + std::to_string(facts["tries"].get<int>()) + " times";
    return text;
}

}  // namespace

Json Outcome::open() const {
    if (is_lost) throw DisconnectedError(payload);
    switch (status) {
        case ok: {
            auto value = Json::parse(payload, nullptr, false);
            if (value.is_discarded()) throw Error("the result is not JSON: the function was not called by its name");
            return value;
        }
        case raised:
        case unreadable: throw read_failure(payload);
        case worker_died: throw WorkerDiedError(what_died(payload));
        case no_worker: throw NoWorkerError(payload);
        case stopped: throw CancelledError(payload.empty() ? "the task was cancelled" : payload);
        default: throw TaskRefusedError(payload);
    }
}

class ClientSession : public Session {
  public:
    explicit ClientSession(const Connection& where) : Session(where, false) {}

    void start() {
        connect();
        thread_ = std::thread([this] { loop(); });
    }

    void stop() {
        {
            std::lock_guard lock(mutex_);
            is_stopping_ = true;
        }
        room_.notify_all();
        ring();
        if (thread_.joinable()) thread_.join();
    }

    std::shared_ptr<Outcome> submit(const std::string& name, std::string payload, const CallOptions& options,
                                    const std::shared_ptr<ClientSession>& self) {
        auto outcome = std::make_shared<Outcome>();
        outcome->session = self;
        tag_of(name);  // it is one
        if (options.retries < 0 || options.retries > 254 || std::abs(options.priority) > 15 || options.timeout_s < 0 ||
            options.timeout_s > 4e6)
            throw std::invalid_argument("retries are 0 to 254, a priority is -15 to 15, a timeout up to 4,000,000 s");
        auto word = static_cast<std::uint32_t>(options.retries + 1) |
                    static_cast<std::uint32_t>(static_cast<std::uint8_t>(options.priority)) << 8;
        auto limit_ms = static_cast<std::uint32_t>(std::min(options.timeout_s * 1000 + 0.999, 4294967295.0));
        bool was_empty;
        {
            std::unique_lock lock(mutex_);
            room_.wait(lock, [&] { return waiting_bytes_ < most_waiting_bytes || !over_.empty() || is_stopping_; });
            if (!over_.empty() || is_stopping_) throw DisconnectedError(over_.empty() ? "the client has left" : over_);
            auto [known, is_new] = functions_.try_emplace(name, static_cast<std::uint32_t>(functions_.size() + 1));
            if (is_new) unannounced_.push_back(name);
            auto number = ++last_number_;
            outcome->task = std::uint64_t{client_bits_} << 40 | number;
            waiting_bytes_ += payload.size();
            open_.emplace(number, Call{known->second, std::move(payload), word, limit_ms, outcome});
            was_empty = queue_.empty();
            queue_.push_back(number);
        }
        if (was_empty) ring();
        return outcome;
    }

    bool cancel(const std::shared_ptr<Outcome>& outcome) {
        {
            std::lock_guard lock(mutex_);
            auto found = open_.find(outcome->task & number_mask);
            if (found == open_.end()) {
                std::lock_guard theirs(outcome->mutex);
                return outcome->is_cancelled;
            }
            if (found->second.was_sent)
                cancelled_.push_back(outcome->task);
            else
                waiting_bytes_ -= found->second.payload.size();  // its number in the queue is passed over
            open_.erase(found);
        }
        outcome->is_cancelled = true;
        outcome->complete(stopped, "the task was cancelled");
        ring();
        return true;
    }

    unsigned workers() const { return workers_; }

  protected:
    void on_new_session(bool is_first) override {
        std::lock_guard lock(mutex_);
        unannounced_.clear();
        for (const auto& [name, number] : functions_) unannounced_.push_back(name);
        std::sort(unannounced_.begin(), unannounced_.end(),
                  [&](const auto& a, const auto& b) { return functions_[a] < functions_[b]; });
        queue_.clear();
        waiting_bytes_ = 0;
        for (const auto& [number, call] : open_) {
            queue_.push_back(number);
            waiting_bytes_ += call.payload.size();
        }
        std::sort(queue_.begin(), queue_.end());
        cancelled_.clear();
        released_.clear();
        objects_.clear();
        // That it is there: a session in which nothing is said is given up.
        post(128, [&](::Frame::Builder frame) {
            auto joined = frame.initJoined();
            joined.setName("cpp");
            joined.setPid(static_cast<std::uint32_t>(getpid()));
        });
        (void)is_first;
    }

    bool has_news() override {
        std::lock_guard lock(mutex_);
        return !queue_.empty() || !cancelled_.empty() || is_stopping_;
    }

    bool is_to_end() const override { return is_stopping_; }

    bool is_finished() override {
        std::lock_guard lock(mutex_);
        return is_stopping_;
    }

    void collect() override {
        say_functions();
        say_cancelled();
        while (has_room() && !is_sending() && say_tasks()) {
        }
        say_released();
        room_.notify_all();
    }

    void on_frame(::Frame::Reader frame) override {
        switch (frame.which()) {
            case ::Frame::RESULTS: return on_results(frame.getResults());
            case ::Frame::WORKERS: workers_ = frame.getWorkers().getCount(); return;
            case ::Frame::RUN_HERE:  // no task of this client waits for another
            case ::Frame::FREED:     // what it has made is gone here as soon as it was sent
            case ::Frame::ANSWER:
            case ::Frame::OUTPUT:
            case ::Frame::SHUTDOWN_ANSWER: return;
            default: throw FrameError("a scheduler does not say that to a client");
        }
    }

    void on_over(const std::string& reason) override {
        std::unordered_map<std::uint64_t, Call> open;
        {
            std::lock_guard lock(mutex_);
            over_ = reason;
            open.swap(open_);
        }
        room_.notify_all();
        for (auto& [number, call] : open)
            call.outcome->complete(stopped, is_stopping_ ? "the client has left" : reason, !is_stopping_);
    }

  private:
    void say_functions() {
        std::string numbers, digests, flags, ends, payload;
        {
            std::lock_guard lock(mutex_);
            for (const auto& name : unannounced_) {
                put(numbers, functions_[name]);
                digests += digest_of(name);
                auto tag = tag_of(name);
                flags += static_cast<char>(tag.empty() ? flag_named : flag_named | flag_request);
                payload += name + tag;
                if (!tag.empty()) put(payload, static_cast<std::uint16_t>(tag.size()));
                put(ends, static_cast<std::uint32_t>(payload.size()));
            }
            unannounced_.clear();
        }
        if (numbers.empty()) return;
        post(numbers.size() * 8 + payload.size(), [&](::Frame::Builder frame) {
            auto functions = frame.initFunctions();
            functions.setNumbers(as_data(numbers));
            functions.setDigests(as_data(digests));
            functions.setFlags(as_data(flags));
            functions.setEnds(as_data(ends));
            functions.setPayload(as_data(payload));
        });
    }

    // One batch of what waits, or one large call. False if nothing is left.
    bool say_tasks() {
        std::string tasks, functions, flags, ends, options, limits, payload;
        std::string large;
        std::uint64_t large_number = 0;
        bool has_limits = false;
        {
            std::lock_guard lock(mutex_);
            while (!queue_.empty() && payload.size() < batch_bytes && tasks.size() < batch_bytes / 2) {
                auto number = queue_.front();
                auto found = open_.find(number);
                if (found == open_.end()) {  // cancelled before it was sent
                    queue_.pop_front();
                    continue;
                }
                auto& call = found->second;
                if (call.payload.size() > most_payload_bytes) {
                    if (!tasks.empty()) break;
                    large = call.payload;
                    large_number = number;
                } else {
                    payload += call.payload;
                }
                queue_.pop_front();
                waiting_bytes_ -= call.payload.size();
                put(tasks, std::uint64_t{client_bits_} << 40 | number);
                put(functions, call.function);
                flags += static_cast<char>(call.was_sent ? flag_resent : 0);
                put(ends, static_cast<std::uint32_t>(payload.size()));
                put(options, call.options);
                put(limits, call.limit_ms);
                has_limits |= call.limit_ms != 0;
                call.was_sent = true;
                if (large_number) break;
            }
        }
        if (tasks.empty()) return false;
        if (!has_limits) limits.clear();
        if (!large_number) {
            say_batch(tasks, functions, flags, ends, payload, options, limits);
            return true;
        }
        auto object = std::uint64_t{client_bits_} << 40 | ++last_object_;
        auto place = places_of(object, large.size(), place_new | place_stream);
        flags[0] = static_cast<char>(flags[0] | flag_objects);
        ends.clear();
        put(ends, static_cast<std::uint32_t>(place.size()));
        send_object(object, std::move(large), [=, this] {
            say_batch(tasks, functions, flags, ends, place, options, limits);
        });
        return true;
    }

    void say_batch(const std::string& tasks, const std::string& functions, const std::string& flags,
                   const std::string& ends, const std::string& payload, const std::string& options,
                   const std::string& limits) {
        post(payload.size() + tasks.size() * 4, [&](::Frame::Builder frame) {
            auto batch = frame.initTasks();
            batch.setTasks(as_data(tasks));
            batch.setFunctions(as_data(functions));
            batch.setFlags(as_data(flags));
            batch.setEnds(as_data(ends));
            batch.setPayload(as_data(payload));
            batch.setOptions(as_data(options));
            batch.setLimitsMs(as_data(limits));
        });
    }

    void say_cancelled() {
        std::string tasks;
        {
            std::lock_guard lock(mutex_);
            for (auto task : cancelled_) put(tasks, task);
            cancelled_.clear();
        }
        if (!tasks.empty())
            post(tasks.size(), [&](::Frame::Builder frame) { frame.initCancel().setTasks(as_data(tasks)); });
    }

    void say_released() {
        if (released_.empty()) return;
        post(released_.size(), [&](::Frame::Builder frame) { frame.initRelease().setObjects(as_data(released_)); });
        released_.clear();
    }

    void on_results(::Results::Reader results) {
        auto ids = results.getTasks(), said_ends = results.getEnds(), said_payload = results.getPayload();
        auto rows = rows_of<std::uint64_t>("tasks", ids);
        auto tasks = read_column<std::uint64_t>("tasks", ids, rows);
        auto flags = read_column<std::uint8_t>("flags", results.getFlags(), rows);
        auto statuses = read_column<std::uint16_t>("statuses", results.getStatuses(), rows);
        auto ends = read_ends(said_ends, said_payload, said_ends.size() ? rows : 0);
        auto payload = as_bytes(said_payload);
        // All rows are looked at before any is acted on: what a bad row ends the session with ends all that are open.
        std::vector<std::string> results_of(rows);
        for (std::size_t row = 0; row < rows; ++row) {
            if (tasks[row] >> 40 != client_bits_) throw FrameError("a result of another client's task");
            if (statuses[row] > stopped) throw FrameError("a status that this version does not know");
            std::size_t begin = row && !ends.empty() ? ends[row - 1] : 0;
            auto said = ends.empty() ? std::string_view() : payload.substr(begin, ends[row] - begin);
            if (flags[row] & flag_objects) {
                if (said.size() < 48) throw FrameError("a result names no object, though it says so");
                put(released_, number_at<std::uint64_t>(said, 8));
                results_of[row] = take_object(said, false);
            } else {
                results_of[row] = said;
            }
        }
        std::vector<std::shared_ptr<Outcome>> done(rows);
        {
            std::lock_guard lock(mutex_);
            for (std::size_t row = 0; row < rows; ++row) {
                auto found = open_.find(tasks[row] & number_mask);
                if (found == open_.end()) continue;
                done[row] = std::move(found->second.outcome);
                open_.erase(found);
            }
        }
        for (std::size_t row = 0; row < rows; ++row)
            if (done[row]) done[row]->complete(static_cast<Status>(statuses[row]), std::move(results_of[row]));
        if (!released_.empty() && !is_sending()) say_released();
    }

    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable room_;
    std::atomic<bool> is_stopping_ = false;
    std::string over_;  // why it is
    std::unordered_map<std::string, std::uint32_t> functions_;
    std::vector<std::string> unannounced_;
    std::unordered_map<std::uint64_t, Call> open_;
    std::deque<std::uint64_t> queue_;  // that are to be sent
    std::size_t waiting_bytes_ = 0;
    std::vector<std::uint64_t> cancelled_;
    std::uint64_t last_number_ = 0, last_object_ = 0;
    std::string released_;
    std::atomic<unsigned> workers_ = 0;
};

}  // namespace detail

Json Future::get() const {
    std::unique_lock lock(outcome_->mutex);
    outcome_->changed.wait(lock, [&] { return outcome_->is_done; });
    return outcome_->open();
}

Json Future::get(std::chrono::duration<double> timeout) const {
    if (!wait(timeout)) throw TimeoutError("the task is not done yet");
    return get();
}

bool Future::wait(std::chrono::duration<double> timeout) const {
    std::unique_lock lock(outcome_->mutex);
    return outcome_->changed.wait_for(lock, timeout, [&] { return outcome_->is_done; });
}

bool Future::done() const {
    std::lock_guard lock(outcome_->mutex);
    return outcome_->is_done;
}

bool Future::cancel() const {
    auto session = outcome_->session.lock();
    return session && session->cancel(outcome_);
}

std::uint64_t Future::task_id() const { return outcome_->task; }

Client::Client(const Connection& where) : session_(std::make_shared<detail::ClientSession>(where)) { session_->start(); }

Client::~Client() { session_->stop(); }

Future Client::submit(const std::string& name, const Json& arguments, const CallOptions& options) {
    if (!arguments.is_array() && !arguments.is_object() && !arguments.is_null())
        throw std::invalid_argument("arguments are an array, or an object of args and kwargs: " + arguments.dump());
    return Future(session_->submit(name, arguments.is_null() ? "[]" : arguments.dump(), options, session_));
}

std::vector<Json> Client::map(const std::string& name, const std::vector<Json>& items, const CallOptions& options) {
    std::vector<Future> futures;
    futures.reserve(items.size());
    for (const auto& item : items) futures.push_back(submit(name, item, options));
    std::vector<Json> results;
    results.reserve(items.size());
    try {
        for (const auto& future : futures) results.push_back(future.get());
    } catch (...) {
        for (const auto& future : futures) future.cancel();
        throw;
    }
    return results;
}

unsigned Client::workers() const { return session_->workers(); }

}  // namespace scaler
