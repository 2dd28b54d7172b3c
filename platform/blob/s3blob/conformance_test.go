//go:build awstest

package s3blob_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/blob/blobtest"
	"github.com/riskprofiler/riskprofiler/platform/blob/s3blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blobtest.Harness {
		l := awstest.Location(t)
		store := s3blob.Open(awstest.Config(t, l), l)
		name := l.Bucket("evidence")
		for range 2 { // again is no error
			if err := s3blob.Create(t.Context(), store.Client(), name); err != nil {
				t.Fatal(err)
			}
		}
		return blobtest.Harness{
			Bucket:    store.Bucket("evidence"),
			SignsURLs: true,
			Damage: func(key string, data []byte) {
				if _, err := store.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: &key, Body: bytes.NewReader(data)}); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// TestMissingBucket: what a stand-in says is what the words are for.
func TestMissingBucket(t *testing.T) {
	l := awstest.Location(t)
	b := s3blob.Open(awstest.Config(t, l), l).Bucket("evidence")
	_, get := b.Get(t.Context(), "a/b")
	_, _, list := b.List(t.Context(), "", "", 0)
	for _, err := range []error{get, list, b.Put(t.Context(), "a/b", nil), b.Delete(t.Context(), "a/b")} {
		if !errors.Is(err, fault.Internal) || !strings.Contains(err.Error(), "bucket "+l.Bucket("evidence")+" in eu-west-1: it does not exist there; deploy it") {
			t.Error(err)
		}
	}
}
