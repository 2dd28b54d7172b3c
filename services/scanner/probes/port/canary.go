package port

const (
	// canaryEvery connects one goes to a port that answered before. If that is silent, what is sent gets lost; a filter by port
	// would not change its mind.
	canaryEvery = 50
	// canaryEveryOpen is the same where only open ports are known to answer: a service counts its connections, and may shut out
	// who comes too often (OpenSSH MaxStartups, fail2ban).
	canaryEveryOpen = 250
	// canaryPorts bounds how many ports take turns.
	canaryPorts = 8
)

// canary chooses ports of a host that are known to answer and asks them again now and then, one at a time.
type canary struct {
	closed, open []uint16
	turn         int
	since        int    // connects since the last canary
	every        int    // 0: canaryEvery
	flying       uint16 // the canary under way, 0: none
}

// learn notes a port that answered.
func (c *canary) learn(port uint16, open bool) {
	list := &c.closed
	if open {
		list = &c.open
	}
	if len(*list) < canaryPorts {
		*list = append(*list, port)
	}
}

// next returns the canary that is due, and counts the connects.
func (c *canary) next() (uint16, bool) {
	if c.since++; c.flying != 0 {
		return 0, false
	}
	list, every := c.closed, canaryEvery
	if len(list) == 0 {
		list, every = c.open, canaryEveryOpen
	}
	if c.every != 0 {
		every = min(every, c.every)
	}
	if len(list) == 0 || c.since < every {
		return 0, false
	}
	c.since = 0
	c.turn++
	c.flying = list[c.turn%len(list)]
	return c.flying, true
}

// is says whether port is the canary under way.
func (c *canary) is(port uint16) bool { return c.flying == port && port != 0 }

// back notes that the canary is no longer under way.
func (c *canary) back() { c.flying = 0 }

// again prepares for asking n ports once more: the first connect is a canary, and more of them come where the ports are few.
func (c *canary) again(n int) {
	c.every = min(max(n/4, 4), canaryEvery)
	c.since = canaryEveryOpen
}
