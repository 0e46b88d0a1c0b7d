// Keys: what a peer shows to a scheduler that wants keys, and where they are found.
//
// From the folder that was given, else from that of SCALER_KEYS; else from the connection file that a scheduler of this
// user and machine leaves while it lives. docs/security.md describes both.
#pragma once

#include <scaler/common.h>

#include <optional>
#include <string>

namespace scaler::detail {

// CURVE keys, in Z85.
struct Keys {
    std::string scheduler, own_public, own_secret;
};

// `role` is "client" or "worker". ConnectionError if what was named cannot be read, or could be by others.
std::optional<Keys> find_keys(const Connection& where, const std::string& role);

}  // namespace scaler::detail
