package target

import "testing"

func TestIsPublicName(t *testing.T) {
	for name, want := range map[string]bool{
		"acme.com": true, "www.acme.co.uk": true, "acme.github.io": true, "xn--bcher-kva.de": true, "notexample.com": true, "mytest.org": true,
		"acme.test": false, "www.acme.test": false, "localhost": false, "a.localhost": false, "x.invalid": false, "x.example": false,
		"example.com": false, "www.example.org": false, "printer.local": false, "db.internal": false, "router.home.arpa": false,
		"1.0.0.127.in-addr.arpa": false, "secret.onion": false, "x.alt": false, "intranet": false, "host.corp": false, "acme.lan": false,
		"com": false, "co.uk": false, "": false,
	} {
		if got := IsPublicName(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
