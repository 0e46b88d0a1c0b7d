// What clients and workers have in common: where the scheduler is, values, and errors.
#pragma once

#include <nlohmann/json.hpp>

#include <stdexcept>
#include <string>
#include <utility>

namespace scaler {

using Json = nlohmann::json;

// Where the scheduler is. `keys` is a folder as `scaler_keys` makes it; if it is empty, SCALER_KEYS names it, and for a
// scheduler of this user on this machine its connection file has the keys.
struct Connection {
    std::string address;
    std::string keys = {};
    double timeout_s = 60;  // until the first welcome, and for going on after the connection broke
};

// Whatever goes wrong is one of these.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// No scheduler could be reached, or it does not want this peer; the text says what to do.
class ConnectionError : public Error {
  public:
    using Error::Error;
};

// The client has left, or its session is over for good.
class DisconnectedError : public Error {
  public:
    using Error::Error;
};

// What a function has raised, wherever it ran.
class RemoteError : public Error {
  public:
    RemoteError(std::string type, std::string message, std::string traceback)
        : Error(type + ": " + message), type_(std::move(type)), message_(std::move(message)),
          traceback_(std::move(traceback)) {}
    const std::string& type() const { return type_; }            // "ValueError", "package.module.MyError"
    const std::string& message() const { return message_; }
    const std::string& traceback() const { return traceback_; }  // as text; may be empty

  private:
    std::string type_, message_, traceback_;
};

// The worker died too often while it ran the task.
class WorkerDiedError : public Error {
  public:
    using Error::Error;
};

// The scheduler did not take the task.
class TaskRefusedError : public Error {
  public:
    using Error::Error;
};

// There is no worker, and none can start.
class NoWorkerError : public Error {
  public:
    using Error::Error;
};

// The task was cancelled.
class CancelledError : public Error {
  public:
    using Error::Error;
};

// Something was not there within the time that its caller gave it.
class TimeoutError : public Error {
  public:
    using Error::Error;
};

}  // namespace scaler
