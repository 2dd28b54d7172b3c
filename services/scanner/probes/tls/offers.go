package tls

import (
	"context"
	"errors"
	"net"
	"slices"
)

// secondWave are the questions that only somebody can ask who knows the versions and suites that the server speaks.
func (s *survey) secondWave() []func(context.Context) {
	tasks := []func(context.Context){
		s.groups13, s.groupsClear, s.primes, s.fallback, s.greaseTolerance, s.signatures, s.extras, s.sessionsClear,
	}
	for _, version := range s.spoken() {
		tasks = append(tasks, func(ctx context.Context) { s.order(ctx, version) })
	}
	if s.end.protocol == "" {
		tasks = append(tasks, s.fingerprint)
	} else {
		tasks = append(tasks, s.smuggle)
	}
	return tasks
}

// accepted lists the suites that the server accepts in a version and that fit.
func (s *survey) accepted(version uint16, fits func(suite) bool) []uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []uint16
	for _, id := range s.suites[version] {
		if chosen, known := suiteOf(id); known && fits(chosen) {
			out = append(out, id)
		}
	}
	return out
}

func anySuite(suite) bool { return true }

// order offers what the server accepts in reverse: a server with an order of its own chooses the same suite again.
func (s *survey) order(ctx context.Context, version uint16) {
	list := s.accepted(version, anySuite)
	if len(list) < 2 {
		return
	}
	first := list[0]
	slices.Reverse(list)
	if got, ok := s.try(ctx, version, list); ok && got.suite == first {
		s.mu.Lock()
		s.ordered[version] = true
		s.mu.Unlock()
	}
}

// groups13 lists the groups of TLS 1.3. A hello without a key makes the server name the group it wants, before anybody
// computes anything; taking that group away shows the next one.
func (s *survey) groups13(ctx context.Context) {
	suites := s.accepted(versionTLS13, anySuite)
	left := allGroups(versionTLS13)
	for len(suites) > 0 && len(left) > 0 {
		got, err := s.ask(ctx, hello{version: versionTLS13, suites: suites, groups: left, noShare: true}, false)
		at := slices.Index(left, got.group)
		if err != nil || !got.retry || at < 0 {
			return
		}
		left = slices.Delete(left, at, at+1)
		s.mu.Lock()
		s.exchange.Groups = append(s.exchange.Groups, groupName(got.group))
		if g, _ := groupOf(got.group); g.pq {
			s.exchange.PostQuantum = true
		}
		s.mu.Unlock()
	}
}

// groupsClear lists the groups of ECDHE in the newest version below TLS 1.3.
func (s *survey) groupsClear(ctx context.Context) {
	version := s.newestClear()
	suites := s.accepted(version, func(c suite) bool { return c.keyExchange() == "ecdhe" })
	left := slices.DeleteFunc(allGroups(version), func(id uint16) bool { return id >= 0x0100 })
	for len(suites) > 0 && len(left) > 0 {
		got, err := s.ask(ctx, hello{version: version, suites: suites, groups: left}, true)
		if err != nil || got.group == 0 {
			return
		}
		name := groupName(got.group)
		s.mu.Lock()
		known := slices.Contains(s.exchange.LegacyGroups, name)
		if !known {
			s.exchange.LegacyGroups = append(s.exchange.LegacyGroups, name)
		}
		s.mu.Unlock()
		at := slices.Index(left, got.group)
		if known || at < 0 {
			return // it uses that group whatever is offered
		}
		left = slices.Delete(left, at, at+1)
	}
}

// primes looks at the primes of finite-field Diffie-Hellman and at the keys of export suites: one hello for each kind, in the
// oldest version that has it, where the worst is kept.
func (s *survey) primes(ctx context.Context) {
	curves := slices.DeleteFunc(allGroups(versionTLS12), func(id uint16) bool { return id >= 0x0100 })
	kinds := []func(suite) bool{
		func(c suite) bool { return c.keyExchange() == "dhe" && c.classes()&(classExport|classAnon) == 0 },
		func(c suite) bool {
			return c.keyExchange() == "dhe" && c.classes()&classExport != 0 && c.classes()&classAnon == 0
		},
		func(c suite) bool { return c.keyExchange() == "rsa" && c.classes()&classExport != 0 },
	}
	for _, fits := range kinds {
		for _, version := range s.spoken() {
			suites := s.accepted(version, fits)
			if len(suites) == 0 || version == versionTLS13 {
				continue
			}
			// Without the groups of RFC 7919 the server shows the prime that it was configured with.
			_, _ = s.ask(ctx, hello{version: version, suites: suites, groups: curves}, true)
			break
		}
	}
}

// fallback comes with an older version than the newest, and says so: a server must refuse that (RFC 7507). A server of one
// version has nothing to refuse.
func (s *survey) fallback(ctx context.Context) {
	spoken := s.spoken()
	if len(spoken) < 2 {
		return
	}
	version := spoken[len(spoken)-2]
	_, err := s.end.ask(ctx, hello{version: version, suites: s.accepted(version, anySuite), fallback: true}, false)
	var alert alertError
	word := ""
	switch {
	case err == nil:
		word = wordNo
	case errors.As(err, &alert) && alert.description == alertFallback:
		word = wordYes
	}
	s.mu.Lock()
	s.behaviour.FallbackScsv = word
	s.mu.Unlock()
}

// greaseTolerance sends unknown values everywhere they may stand.
func (s *survey) greaseTolerance(ctx context.Context) {
	spoken := s.spoken()
	if len(spoken) == 0 {
		return
	}
	version := spoken[len(spoken)-1]
	h := hello{version: version, suites: s.accepted(version, anySuite), grease: true}
	if version == versionSSL3 {
		return // no extensions, nothing to tolerate
	}
	word := ""
	for range 2 {
		_, err := s.end.ask(ctx, h, false)
		alert := alertError{}
		switch {
		case err == nil:
			word = wordYes
		case errors.As(err, &alert) || closed(err):
			word = wordNo
			continue // asked again: a connection may be lost for other reasons
		}
		break
	}
	s.mu.Lock()
	s.behaviour.GreaseTolerant = word
	s.mu.Unlock()
}

// weakSignatures are those of SHA-1 and MD5.
var weakSignatures = []uint16{0x0201, 0x0203, 0x0202, 0x0101, 0x0103}

// signatures asks what the server signs the key exchange of TLS 1.2 with. A client that knows SHA-1 and MD5 only must be
// refused (RFC 9155); the deep profile lists all.
func (s *survey) signatures(ctx context.Context) {
	suites := s.accepted(versionTLS12, func(c suite) bool { return c.classes()&classForwardSecret != 0 })
	if len(suites) == 0 {
		return
	}
	left := slices.Clone(weakSignatures)
	if s.depth == deep {
		left = slices.Clone(signatureAlgorithms)
	}
	for len(left) > 0 {
		got, err := s.ask(ctx, hello{version: versionTLS12, suites: suites, signatures: left}, true)
		at := slices.Index(left, got.exchange.signature)
		if err != nil || got.exchange.signature == 0 {
			return
		}
		name := schemeName(got.exchange.signature)
		s.mu.Lock()
		known := slices.Contains(s.exchange.SignatureAlgorithms, name)
		if !known && (at >= 0 || slices.Contains(weakSignatures, got.exchange.signature)) {
			s.exchange.SignatureAlgorithms = append(s.exchange.SignatureAlgorithms, name)
		}
		s.mu.Unlock()
		if at < 0 {
			return // it signs as it likes, whatever the client knows
		}
		left = slices.Delete(left, at, at+1)
	}
}

// extras offers compression and heartbeats in one hello.
func (s *survey) extras(ctx context.Context) {
	version := s.newestClear()
	if version == 0 {
		return
	}
	got, err := s.end.ask(ctx, hello{version: version, suites: s.accepted(version, anySuite), compress: true, heartbeat: true}, false)
	if err != nil {
		return
	}
	s.note(got)
	s.mu.Lock()
	s.behaviour.Compression, s.behaviour.Heartbeat = yesNo(got.compressed), yesNo(got.heartbeat)
	s.mu.Unlock()
}

// ask2 sends a hello of SSLv2 and reads the answer.
func (e *endpoint) ask2(ctx context.Context) (got answer2, err error) {
	err = e.converse(ctx, func(conn net.Conn) error {
		if _, err := conn.Write(hello2()); err != nil {
			return err
		}
		got, err = readAnswer2(conn)
		return err
	})
	return got, err
}
