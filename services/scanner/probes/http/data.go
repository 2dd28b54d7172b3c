package http

import (
	_ "embed" // the data
	"encoding/json"
	"sync"
)

// The data are lists of our own, dated, with their sources in them. They are read when the first scan asks for them; a test reads
// every entry, so that a mistake in them is no matter of a scan.

//go:embed data/exposures.json
var exposureData []byte

//go:embed data/pages.json
var pageData []byte

// trait is one thing that a path may show.
type trait struct {
	// Path as it is asked for, with its query; {host} stands for the name of the target.
	Path string `json:"path"`
	// Kind is the class that checks judge. "page" stands for the class of the product that pages.json recognises there.
	Kind string `json:"kind"`
	// Profile is the first one that asks: "standard" or "deep".
	Profile string `json:"profile"`
	Product string `json:"product"`
	// Proof names a function of proofs; else the fields below say what must be there, in lower case.
	Proof  string   `json:"proof"`
	Form   string   `json:"form"`   // json (compared without white space) or html
	Prefix string   `json:"prefix"` // bytes, one for each character
	Title  string   `json:"title"`
	All    []string `json:"all"`
	None   []string `json:"none"`
	// Says is the proof of an trait without a function; empty: that it is a page of the product.
	Says   string `json:"says"`
	Status []int  `json:"status"` // empty: 200
	// Follow one redirect inside of the origin: logins lie behind them.
	Follow bool   `json:"follow"`
	Source string `json:"source"`
}

// place is one request and all that its answer may show.
type place struct {
	path   string
	traits []trait
	follow bool
	deep   bool
}

// placesOf reads the places, in the order of the file: what matters most comes first, because a scan may have to end early.
var placesOf = sync.OnceValue(func() []place {
	var file struct {
		Exposures []trait `json:"exposures"`
	}
	if json.Unmarshal(exposureData, &file) != nil {
		return nil // compiled in, and tested
	}
	var out []place
	at := map[string]int{}
	for _, e := range file.Exposures {
		i, known := at[e.Path]
		if !known {
			i = len(out)
			at[e.Path] = i
			out = append(out, place{path: e.Path, deep: true})
		}
		out[i].traits = append(out[i].traits, e)
		out[i].follow = out[i].follow || e.Follow
		out[i].deep = out[i].deep && e.Profile == "deep"
	}
	return out
})

// signature recognises one kind of page. All its texts must be there; they are compared in lower case. An empty field is not
// asked for.
type signature struct {
	Name string `json:"name"`
	// Kind is the class of a panel; empty: "panel", the login of a product for those who run it.
	Kind string `json:"kind"`
	// Title is how the title begins, or all of it where Whole is set.
	Title string `json:"title"`
	Whole bool   `json:"whole"`
	// Body are texts that the body contains.
	Body []string `json:"body"`
	// Realm is contained in the Basic or Digest realm (status 401).
	Realm string `json:"realm"`
}

// pageLists are the signatures by what they recognise.
type pageLists struct {
	// Default are what servers and frameworks show before anybody put an application there.
	Default []signature `json:"default"`
	// Panels are pages of products that seldom belong on the internet, the narrow kinds first.
	Panels []signature `json:"panels"`
	// Debug are what frameworks show a developer and no visitor should see.
	Debug []signature `json:"debug"`
}

var pagesOf = sync.OnceValue(func() pageLists {
	var out pageLists
	if json.Unmarshal(pageData, &out) != nil {
		return pageLists{} // compiled in, and tested
	}
	return out
})
