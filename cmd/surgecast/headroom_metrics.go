package main

import "github.com/prometheus/client_golang/prometheus"

// headroomMetrics say how much room is left, and what became of who came.
func (n *node) headroomMetrics() []prometheus.Collector {
	h := n.headroom
	own := func(pick func(outlook) float64) func() float64 {
		return func() float64 { o, _ := h.outlooks(); return pick(o) }
	}
	pool := func(pick func(poolOutlook) float64) func() float64 {
		return func() float64 { _, p := h.outlooks(); return pick(p) }
	}
	return []prometheus.Collector{
		gauge("surgecast_expected_bits_per_second", "How much does it send, with what those will get who were just let in?",
			func() float64 { return h.counts().BitsPerSecond }),
		gauge("surgecast_carried_bits_per_second", "What has it carried at most, where its capacity is not known?",
			func() float64 { return float64(h.Carried()) }),
		gauge("surgecast_full", "Is it full? 1 while new sessions are sent elsewhere.",
			func() float64 { return bit(h.counts().Full) }),
		gauge("surgecast_full_in_seconds", "When will it be full, if as many go on coming? +Inf: not within an hour.",
			own(func(o outlook) float64 { return o.FullIn })),
		gauge("surgecast_pool_full_in_seconds", "When will the pool be full, as this node sees it? +Inf: not within an hour.",
			pool(func(p poolOutlook) float64 { return p.FullIn })),
		gauge("surgecast_pool_full_soon", "Are more relays needed now? 1 from under 300 s to over 450 s.",
			pool(func(p poolOutlook) float64 { return bit(p.Soon) })),
		gauge("surgecast_pool_tight", "Is there too little room for the viewers of the fullest relay, if it died? 1 from over 95 % of the others to under 90 %.",
			pool(func(p poolOutlook) float64 { return bit(p.Tight) })),
		gauge("surgecast_pool_spare_relays", "Could a relay be drained? 1 when the pool was under 40 % for 15 minutes.",
			pool(func(p poolOutlook) float64 { return bit(p.spare.Name != "") })),
		counter("surgecast_sessions_sent_on_total", "How many new sessions were sent to another relay, since this one is full?",
			func() float64 { return float64(h.counts().SentOn) }),
		counter("surgecast_sessions_refused_total", "How many were told to come again, since none has room?",
			func() float64 { return float64(h.counts().Refused) }),
		counter("surgecast_requests_shed_total", "How often were viewers refused what they asked for, since it is too busy?",
			func() float64 { return float64(h.counts().Shed) }),
	}
}
