// Package relay holds the live window of each stream and delivers it as HLS
// and Low-Latency HLS. An origin and a relay hold the same thing and serve it
// in the same way; only who fills the window differs:
//
//	origin: segmenter ─Put, Publish─▶ Window ─▶ server ─▶ relays
//	relay:  parent ─▶ Follower ─Put, Publish─▶ Window ─▶ server ─▶ viewers, child relays
//
// The package does not know who is in the pool, who may be listed or how a
// feed is packaged: it asks for its upstream through a function and takes
// whole media objects and whole lists.
package relay
