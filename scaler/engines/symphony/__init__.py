"""The adapter for IBM Symphony: each task of ours is a task of one Symphony session.

| file | what it is |
| --- | --- |
| `engine` | the adapter: starts the child, starts it again when it has died, and speaks with it |
| `child` | a process of its own, the only one that loads IBM's library: it may abort, or hang |
| `open_tasks` | which Symphony task answers which job, whatever order things come in |
| `payloads` | a job to what the service is sent, and what that answers to a result |
| `service_call` | what goes to the service by value where a plain call does not do |
| `command` | the command scaler_symphony_cluster |

Needs `soamapi`, which comes with Symphony and is on no index. The service's code stands in docs/symphony.md.
"""
