//go:build awstest

package s3blob_test

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/blob/blobtest"
	"github.com/riskprofiler/riskprofiler/platform/blob/s3blob"
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
