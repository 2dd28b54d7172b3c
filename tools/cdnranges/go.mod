module github.com/riskprofiler/riskprofiler/tools/cdnranges

go 1.26.0
