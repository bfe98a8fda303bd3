// Package relay holds the live window of each stream and delivers it as HLS
// and Low-Latency HLS. An origin and a relay hold the same thing and serve it
// in the same way; only who fills the window differs:
//
//	origin: segmenter ─Put, Publish─▶ Window ─▶ server ─▶ relays
//	relay:  parents ─▶ Follower ─Put, Publish─▶ Window ─▶ server ─▶ viewers, child relays
//
// A follower has one fetcher for each window. It asks the best of its parents
// for the next list, which is held there (reload), and has each object carried
// over (passage, carrier); child relays read an object while it arrives
// (incoming), players when it is whole.
//
// The package does not know who is in the pool, who may be listed or how a
// feed is packaged: it asks for its parents through a function and takes whole
// media objects and whole lists.
package relay
