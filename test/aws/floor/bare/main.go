// Command bare is the first floor under the cold start of a function: a handler that does nothing and links nothing but the
// runtime library.
package main

import (
	"context"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	lambda.Start(func(context.Context) error { return nil })
}
