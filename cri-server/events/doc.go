// Package events hands what happens to whoever listens.
//
// Every subscriber has a queue of its own with a limit. Publishing never waits: a subscriber that does not keep up loses
// its subscription (and is told so), not the others theirs. The lock guards the list of subscribers and the queues, and
// nothing waits under it.
package events
